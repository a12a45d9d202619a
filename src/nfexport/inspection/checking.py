"""Let onnx's checker judge a file without reading its weights.

The checker would hold them twice, to look at their types, shapes and sizes alone. Here weights become inputs of
the same type and shape, and that they have the bytes which these take is seen while they are stepped over.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from nfexport.inspection.skim import DamagedError, skim

_READ = 1 << 16
"""Bytes of an initializer up to which it is read: the targets of a Reshape tell shapes, weights do not."""


def refusal(path: Path) -> str | None:
    """Return the first line of what onnx's checker, shape inference included, has against the file; else None.

    Raises OSError if the file cannot be read."""
    small: dict[int, bytes] = {}

    def look(number: int, data: memoryview) -> None:
        if len(data) <= _READ:
            small[number] = bytes(data)

    try:
        model = skim(path, look)
        _weights_as_inputs(model, small)
        onnx.checker.check_model(model, full_check=True)
    except (DamagedError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return str(error).strip().splitlines()[0]
    return None


def _weights_as_inputs(model: onnx.ModelProto, small: dict[int, bytes]) -> None:
    """Give the tensors that were read their bytes back; the others that had raw_data become inputs."""
    graph = model.graph
    inputs = {entry.name for entry in graph.input}
    kept = []
    for number, tensor in enumerate(graph.initializer):
        if number in small:
            tensor.raw_data = small[number]
            kept.append(tensor)
        elif _has_data(tensor):
            kept.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    kept_copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept_copies)


def _has_data(tensor: onnx.TensorProto) -> bool:
    """Say whether the tensor holds its numbers elsewhere than in raw_data."""
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    return any(map(len, (*fields, tensor.string_data))) or bool(tensor.external_data)

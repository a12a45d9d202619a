"""Run a file once and look at every tensor in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.verification.runtimes import onnxruntime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensors:
    """The nodes of a file in order, the values of their outputs by name, its initializers, and the names of its
    outputs. Only what stands at top level counts."""

    nodes: tuple[onnx.NodeProto, ...]
    values: Mapping[str, NDArray[Any]]
    weights: Mapping[str, onnx.TensorProto]
    outputs: frozenset[str]


def run_exposed(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
    """Run a model, its weights inside it, as its graph stands, with every tensor as an output.

    The runtime's optimisations are off: what is fused has no tensors, and a node's name has to be that of the
    node that ran. The model is left as it was. Raises OnnxFileError if ONNX Runtime refuses it or stops."""
    session = onnxruntime.open_session(_exposed(model), optimise=False)
    try:
        values = session.run(feeds)
    except RuntimeError as error:
        raise OnnxFileError(
            f"ONNX Runtime stops in the file: {error}", fix="check the batch and the size that the file takes"
        ) from error
    return Tensors(
        nodes=tuple(model.graph.node),
        values=values,
        weights={tensor.name: tensor for tensor in model.graph.initializer},
        outputs=frozenset(value.name for value in model.graph.output),
    )


def _exposed(model: onnx.ModelProto) -> bytes:
    """Return the bytes of the model with every tensor as an output."""
    own = len(model.graph.output)
    names = [value.name for value in model.graph.output]
    names += [name for node in model.graph.node for name in node.output if name]
    try:
        # added to the model itself for as long as it takes: a copy would hold its weights once more
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in list(dict.fromkeys(names))[own:])
        data: bytes = model.SerializeToString()
        return data
    finally:
        del model.graph.output[own:]

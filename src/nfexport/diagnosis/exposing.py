"""Run a file once and look at every tensor in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.verification.in_memory import open_in_memory

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}


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
    node that ran. Raises OnnxFileError if ONNX Runtime refuses the model or stops."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    outputs = {value.name for value in exposed.graph.output}
    for node in exposed.graph.node:
        for name in node.output:
            if name and name not in outputs:
                outputs.add(name)
                exposed.graph.output.append(onnx.ValueInfoProto(name=name))
    session = open_in_memory(exposed, optimise=False)
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


def load(path: Path | str | bytes) -> onnx.ModelProto:
    """Read a file with its weights, wherever they lie."""
    return onnx.load_from_string(path) if isinstance(path, bytes) else onnx.load(path)


def computes_weights(model: onnx.ModelProto) -> bool:
    """Say whether a convolution's weight is computed at every inference."""
    stored = {tensor.name for tensor in model.graph.initializer}
    stored |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    return any(node.op_type == "Conv" and node.input[1] not in stored for node in model.graph.node)

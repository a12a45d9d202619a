"""The arithmetic of a file, as its own types and operators tell, whatever its recipe says."""

from __future__ import annotations

import onnx

from nfexport.graph.proto_graphs import graphs, initializers

HALF = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
"""Types of 16-bit floats."""

QUANTISED = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    }
)
"""Operators of int8 files; nfexport writes the first two."""


def stored_precision(model: onnx.ModelProto) -> str:
    """Return 'int8' for a file with quantised operators, 'fp16' for one that computes in 16-bit floats,
    'fp16-weights' for one that stores weights in them and computes in float32, else 'float32'.

    A header is enough: no weights are read."""
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    if any(node.op_type in QUANTISED for node in nodes):
        return "int8"
    half = {tensor.name for tensor in initializers(model.graph) if tensor.data_type in HALF}
    inputs = {value.name for value in model.graph.input if value.type.tensor_type.elem_type in HALF}
    casts = any(
        node.op_type == "Cast" and any(entry.name == "to" and entry.i in HALF for entry in node.attribute)
        for node in nodes
    )
    if not half and not inputs and not casts:
        return "float32"
    computing = [node for node in nodes if node.op_type not in ("Cast", "Identity")]
    if casts or inputs or any(name in half for node in computing for name in node.input):
        return "fp16"
    return "fp16-weights"

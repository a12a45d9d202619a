"""What a node computes, apart from its inputs: operator, attributes with their defaults, and its subgraphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from nfexport.graph.recognisers import DEFAULT_DOMAIN, operator_name

GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
TENSORS = (ir.AttributeType.TENSOR, ir.AttributeType.TENSORS)


def operator(node: ir.Node) -> str:
    """Return the operator with its domain, and the overload of a function."""
    return f"{operator_name(node)}:{node.overload}" if node.overload else operator_name(node)


def attributes(node: ir.Node, opsets: Mapping[str, int]) -> dict[str, Any]:
    """Return the attributes of a node but for its subgraphs, those that are left out at their defaults.

    opsets are the imports of the model, by which the defaults are those of its version. Numbers are compared bit by
    bit, a tensor by its element type, its shape and its bytes."""
    found = {name: _value(attribute) for name, attribute in node.attributes.items() if attribute.type not in GRAPHS}
    return _defaults(node, opsets) | found


def read_inputs(node: ir.Node) -> list[ir.Value | None]:
    """Return the inputs without those that are left out at the end."""
    found = list(node.inputs)
    while found and found[-1] is None:
        found.pop()
    return found


def output_count(node: ir.Node) -> int:
    """Return the number of outputs without those that are left out at the end, which have no name."""
    return max((index + 1 for index, value in enumerate(node.outputs) if value.name != ""), default=0)


def _value(attribute: ir.Attr) -> Any:
    if attribute.is_ref():
        return ("attribute of the function", attribute.ref_attr_name)
    if attribute.type in TENSORS:
        tensors = [attribute.value] if attribute.type == ir.AttributeType.TENSOR else attribute.value
        return tuple((str(one.dtype), tuple(one.shape.numpy()), one.tobytes()) for one in tensors)
    if attribute.type == ir.AttributeType.FLOAT:
        return _bits([attribute.value])
    if attribute.type == ir.AttributeType.FLOATS:
        return _bits(attribute.value)
    if attribute.type in (ir.AttributeType.INTS, ir.AttributeType.STRINGS):
        return tuple(attribute.value)
    if attribute.type in (ir.AttributeType.INT, ir.AttributeType.STRING):
        return attribute.value
    return str(attribute.value)


def _bits(numbers: Any) -> tuple[str, ...]:
    """Return float32 numbers so that those with the same bits are equal, NaN included, and no others."""
    return tuple(float(number).hex() for number in np.asarray(numbers, np.float32))


def _defaults(node: ir.Node, opsets: Mapping[str, int]) -> dict[str, Any]:
    if node.domain not in DEFAULT_DOMAIN:
        return {}
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get("", 1), "")
    except onnx.defs.SchemaError:
        return {}
    return {
        name: _value(ir.serde.deserialize_attribute(declared.default_value))
        for name, declared in schema.attributes.items()
        if declared.default_value.type != onnx.AttributeProto.UNDEFINED
    }

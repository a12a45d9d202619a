"""Operators without a rule of their own, by the function that their schema in onnx gives: what they are made of."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from nfexport.interpreter.coverage import schema_of


def schema_function(node: ir.Node, version: int) -> ir.Function | None:
    """Return the function that a node stands for, with the node's attributes in it; None if its schema has none.

    Functions that onnx makes up for the types of a node are left out: asking for one with types that are not what it
    expects ends the process (onnx 1.23)."""
    schema = schema_of(node.domain, node.op_type, version)
    if schema is None or not schema.has_function:
        return None
    body = onnx.FunctionProto()
    body.CopyFrom(schema.function_body)
    given = {name: entry.default_value for name, entry in schema.attributes.items() if entry.default_value.name}
    given |= {entry.name: entry for entry in ir.to_proto(node).attribute}
    for child in body.node:
        _substitute(child, given)
    if not body.opset_import:
        body.opset_import.append(onnx.helper.make_opsetid(node.domain, version))
    return ir.serde.deserialize_function(body)


def _substitute(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Replace each reference to an attribute of the function by its value, and drop those without one."""
    kept = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in given:
                continue
            value = onnx.AttributeProto()
            value.CopyFrom(given[attribute.ref_attr_name])
            value.name = attribute.name
            kept.append(value)
            continue
        for graph in (attribute.g, *attribute.graphs):
            for child in graph.node:
                _substitute(child, given)
        kept.append(attribute)
    made = [onnx.AttributeProto.FromString(entry.SerializeToString()) for entry in kept]
    del node.attribute[:]
    node.attribute.extend(made)

"""The digest of an int8 graph, by which a later change of the graph is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx import numpy_helper

from nfexport.graph.tensors import shape_of
from nfexport.recipe.quantize_step import QUANTIZE
from nfexport.recipe.recipe import PassStep, Recipe


def graph_digest(model: onnx.ModelProto) -> str:
    """Return the sha256 of a graph, in hexadecimal: opsets, inputs, outputs, nodes in order, and the numbers of
    every initializer. Node names, doc strings, intermediate shapes and metadata do not count, nor does where the
    weights are stored; external data has to be loaded."""
    graph = model.graph
    total = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            total.update(len(raw).to_bytes(8, "little") + raw)

    for domain, version in sorted((entry.domain, entry.version) for entry in model.opset_import):
        add("opset", domain, str(version))
    for value in (*graph.input, *graph.output):
        shape = shape_of(value) or ("none",)
        add("interface", value.name, str(value.type.tensor_type.elem_type), *map(str, shape))
    for node in graph.node:
        add("node", node.domain, node.op_type, *node.input, "→", *node.output)
        for attribute in sorted(node.attribute, key=lambda entry: entry.name):
            add("attribute", attribute.name, str(attribute.type), _value(attribute))
    for tensor in sorted(graph.initializer, key=lambda entry: entry.name):
        add("tensor", tensor.name, _numbers(tensor))
    return total.hexdigest()


def _value(attribute: onnx.AttributeProto) -> bytes:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _numbers(value)
    if isinstance(value, onnx.GraphProto):
        return bytes(value.SerializeToString(deterministic=True))
    return repr(list(value) if attribute.type in _LISTS else value).encode()


_LISTS = (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS, onnx.AttributeProto.STRINGS)


def _numbers(tensor: onnx.TensorProto) -> bytes:
    array = numpy_helper.to_array(tensor)
    return f"{tensor.data_type} {array.shape} ".encode() + array.tobytes()


def step_of(recipe: Recipe) -> PassStep | None:
    """Return the step that quantised a file, None for a float file."""
    return next((step for step in recipe.surgery if step.name == QUANTIZE), None)


def disagreements(path: Path, recipe: Recipe) -> tuple[str, ...]:
    """Return a sentence if the graph of an int8 file is not the one that was quantised; nothing for a float file."""
    step = step_of(recipe)
    if step is None:
        return ()
    found = graph_digest(onnx.load(path))
    claimed = str(step.params["graph_sha256"])
    if found == claimed:
        return ()
    return (
        f"graph: the recipe says {claimed[:12]}… (sha256), the file has {found[:12]}…: "
        "a node or a number has changed since the file was quantised",
    )

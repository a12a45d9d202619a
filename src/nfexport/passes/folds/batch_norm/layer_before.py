"""Fold BatchNormalization into the convolution or linear layer before it."""

from __future__ import annotations

import dataclasses

from nfexport.graph import edit
from nfexport.graph.libraries import ir, np
from nfexport.graph.recognisers import is_operator
from nfexport.graph.value_facts import dims
from nfexport.passes.folds.batch_norm.affine import (
    LAYOUT,
    Affine,
    add_offset,
    bias_of,
    feature_axis,
    float64,
    is_constant_layer,
    write,
)
from nfexport.passes.folds.scales.axes import input_axis
from nfexport.passes.folds.scales.factor import Refusal

NONE = "no convolution or linear layer comes before it"


@dataclasses.dataclass(frozen=True)
class Before:
    """The layer, the nodes between that change the layout alone, and the sum with a constant among them."""

    layer: ir.Node
    layout: tuple[ir.Node, ...] = ()
    addition: tuple[ir.Node, int] | None = None


def find(node: ir.Node) -> Before:
    """Return the layer whose features a BatchNormalization has as its channels. Raises Refusal if there is none."""
    value, reader, axis = node.inputs[0], node, 1
    layout: list[ir.Node] = []
    addition: tuple[ir.Node, int] | None = None
    while True:
        producer = None if value is None else value.producer()
        if value is None or producer is None or not is_operator(producer, "Conv", "Gemm", "MatMul", "Add", *LAYOUT):
            raise Refusal(NONE)
        if edit.sole_consumer(value) is not reader:
            kind = "convolution" if producer.op_type == "Conv" else "node"
            raise Refusal(f"the {kind} '{producer.name}' has other consumers")
        if is_operator(producer, "Conv", "Gemm", "MatMul"):
            if not is_constant_layer(producer):
                kind = "convolution" if producer.op_type == "Conv" else "linear layer"
                raise Refusal(f"the weight of the {kind} '{producer.name}' is not constant")
            if feature_axis(producer) != axis:
                raise Refusal(f"its channels are not the features of '{producer.name}'")
            return Before(producer, tuple(layout), addition)
        if is_operator(producer, "Add"):
            index = _constant_features(producer, axis)
            if index is None or addition is not None:
                raise Refusal(NONE)
            addition = producer, index
            value, reader = producer.inputs[1 - index], producer
            continue
        layout.append(producer)
        found = None if producer.inputs[0] is None else input_axis(producer, producer.inputs[0], axis)
        if found is None:
            raise Refusal(f"its channels cannot be followed through '{producer.name}'")
        value, reader, axis = producer.inputs[0], producer, found


def _constant_features(node: ir.Node, axis: int) -> int | None:
    """Return which operand of an Add is a constant vector along this axis alone."""
    for index in (1, 0):
        tensor, other = edit.constant_tensor(node.inputs[index]), node.inputs[1 - index]
        shape = None if other is None else dims(other)
        if tensor is None or shape is None or len(tensor.shape) > len(shape):
            continue
        sizes = (1,) * (len(shape) - len(tensor.shape)) + tuple(tensor.shape.numpy())
        if sizes[axis] == shape[axis] and all(size == 1 for i, size in enumerate(sizes) if i != axis):
            return index
    return None


def fold(graph: ir.Graph, node: ir.Node, before: Before) -> None:
    """Let the layer compute what the BatchNormalization made of its output, and remove that one."""
    affine, layer = Affine.of(node), before.layer
    if before.addition is not None:
        addition, index = before.addition
        old = float64(addition.inputs[index])
        write(graph, addition, index, affine.moved(old.reshape(-1)).reshape(old.shape))
        nothing = np.zeros_like(affine.mean)
        affine = dataclasses.replace(affine, mean=nothing, offset=nothing)
    {"Conv": _into_convolution, "Gemm": _into_gemm, "MatMul": _into_product}[layer.op_type](graph, layer, affine)
    source = node.inputs[0]
    assert source is not None
    edit.replace_value(node.outputs[0], source)
    graph.remove(node, safe=True)
    _restore_layout(graph, before.layout)


def _into_convolution(graph: ir.Graph, layer: ir.Node, affine: Affine) -> None:
    tensor = edit.constant_tensor(layer.inputs[1])
    assert tensor is not None
    weight, bias = float64(layer.inputs[1]), bias_of(layer)
    write(graph, layer, 1, weight * affine.scale.reshape(-1, *([1] * (weight.ndim - 1))), named=tensor.name)
    moved = affine.shift if bias is None else affine.moved(float64(bias))
    write(graph, layer, 2, moved, named=affine.name)


def _into_gemm(graph: ir.Graph, layer: ir.Node, affine: Affine) -> None:
    turned, bias = layer.attributes.get_int("transB", 0), bias_of(layer)
    weight = float64(layer.inputs[1])
    write(graph, layer, 1, weight * (affine.scale[:, None] if turned else affine.scale))
    beta = layer.attributes.get_float("beta", 1.0)
    moved = affine.shift if bias is None else affine.moved(beta * float64(bias))
    layer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    write(graph, layer, 2, moved, named=affine.name)


def _into_product(graph: ir.Graph, layer: ir.Node, affine: Affine) -> None:
    write(graph, layer, 1, float64(layer.inputs[1]) * affine.scale)
    if affine.shift.any():
        add_offset(graph, layer, affine.shift, affine.name)


def _restore_layout(graph: ir.Graph, layout: tuple[ir.Node, ...]) -> None:
    """Remove the Flatten in front of the BatchNormalization with the Reshape that undoes it."""
    if len(layout) != 1 or not is_operator(layout[0], "Flatten", "Reshape"):
        return
    into, behind = layout[0].inputs[0], edit.sole_consumer(layout[0].outputs[0])
    if into is None or behind is None or not is_operator(behind, "Reshape"):
        return
    shape = dims(into)
    if shape is not None and shape == dims(behind.outputs[0]) and shape.count(None) <= 1:
        edit.replace_value(behind.outputs[0], into)
        graph.remove(behind, safe=True)

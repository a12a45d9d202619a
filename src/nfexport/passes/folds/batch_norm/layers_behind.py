"""Fold BatchNormalization into the convolutions and linear layers that read it, if nothing else does.

    Conv(s·x + t, w, b)  →  Conv(x, w', b'),   w'[o,i] = w[o,i]·s[i],   b'[o] = b[o] + Σ w[o,i]·t[i]

A convolution that pads reads zeros at the border, not t: it takes up a BatchNormalization only where t is 0. Means
over pixels, and poolings that leave the padding out, lie between without harm.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfexport.graph import edit
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, label
from nfexport.graph.value_facts import dims
from nfexport.passes.folds.batch_norm.affine import (
    LAYOUT,
    Affine,
    add_offset,
    bias_of,
    float64,
    is_constant_layer,
    write,
)
from nfexport.passes.folds.scales.axes import output_axis
from nfexport.passes.folds.scales.factor import Refusal

MEANS = ("AveragePool", "GlobalAveragePool", "ReduceMean")


def find(node: ir.Node) -> list[ir.Node]:
    """Return the layers that read a BatchNormalization. Raises Refusal if anything else does."""
    found = list(_layers(node.outputs[0], 1, Affine.of(node)))
    if not found:
        raise Refusal("nothing reads it")
    return found


def fold(graph: ir.Graph, node: ir.Node, layers: list[ir.Node]) -> None:
    """Let the layers compute what they would make of the output, and remove the BatchNormalization."""
    affine = Affine.of(node)
    for layer in layers:
        {"Conv": _into_convolution, "Gemm": _into_gemm, "MatMul": _into_product}[layer.op_type](graph, layer, affine)
    source = node.inputs[0]
    assert source is not None
    edit.replace_value(node.outputs[0], source)
    graph.remove(node, safe=True)


def _layers(value: ir.Value, axis: int, affine: Affine) -> Iterator[ir.Node]:
    if value.is_graph_output():
        raise Refusal(f"'{value.name}' is an output of the graph")
    for node, index in value.uses():
        if index == 0 and is_operator(node, "Conv", "Gemm", "MatMul"):
            _check(node, value, axis, affine)
            yield node
            continue
        between = is_operator(node, *LAYOUT) or (is_operator(node, *MEANS) and _keeps_offsets(node))
        found = output_axis(node, value, axis) if between and index == 0 else None
        if found is None:
            raise Refusal(f"'{label(node)}' ({node.op_type}) reads it")
        yield from _layers(node.outputs[0], found, affine)


def _check(layer: ir.Node, value: ir.Value, axis: int, affine: Affine) -> None:
    """Raise Refusal if a layer cannot take up a factor and an offset of its input."""
    if not is_constant_layer(layer):
        raise Refusal(f"the weight of '{label(layer)}' behind it is not constant")
    shape = dims(value)
    last = None if shape is None or len(shape) < 2 else len(shape) - 1
    if axis != (last if is_operator(layer, "MatMul") else 1):
        raise Refusal(f"'{label(layer)}' sums over another axis than its channels")
    if is_operator(layer, "Conv") and _pads(layer) and affine.shift.any():
        raise Refusal(f"the convolution '{label(layer)}' behind it pads with zeros, which it would move")


def _pads(layer: ir.Node) -> bool:
    mode = layer.attributes.get_string("auto_pad", "NOTSET")
    return mode.startswith("SAME") or (mode == "NOTSET" and any(layer.attributes.get_ints("pads", ())))


def _keeps_offsets(node: ir.Node) -> bool:
    """Say whether the mean of a constant image is that constant everywhere."""
    if not is_operator(node, "AveragePool"):
        return True
    return not (_pads(node) and node.attributes.get_int("count_include_pad", 0) != 0)


def _into_convolution(graph: ir.Graph, layer: ir.Node, affine: Affine) -> None:
    weight, bias = float64(layer.inputs[1]), bias_of(layer)
    groups, (filters, width) = layer.attributes.get_int("group", 1), weight.shape[:2]

    def of_each_filter(vector: Array) -> Array:
        """Return the entries of the channels that each filter reads [O, I / groups, 1, …]."""
        rows = np.repeat(vector.reshape(groups, width), filters // groups, axis=0)
        return rows.reshape(filters, width, *[1] * (weight.ndim - 2))

    through = (weight * of_each_filter(affine.shift)).reshape(filters, -1).sum(axis=1)
    write(graph, layer, 1, weight * of_each_filter(affine.scale))
    if bias is not None or through.any():
        write(graph, layer, 2, through if bias is None else float64(bias) + through, named=affine.name)


def _into_gemm(graph: ir.Graph, layer: ir.Node, affine: Affine) -> None:
    weight, bias = float64(layer.inputs[1]), bias_of(layer)
    turned, alpha = layer.attributes.get_int("transB", 0), layer.attributes.get_float("alpha", 1.0)
    beta = layer.attributes.get_float("beta", 1.0)
    through = alpha * (weight @ affine.shift if turned else affine.shift @ weight)
    write(graph, layer, 1, weight * (affine.scale if turned else affine.scale[:, None]))
    layer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    write(graph, layer, 2, through if bias is None else beta * float64(bias) + through, named=affine.name)


def _into_product(graph: ir.Graph, layer: ir.Node, affine: Affine) -> None:
    weight = float64(layer.inputs[1])
    write(graph, layer, 1, weight * affine.scale[:, None])
    through = affine.shift @ weight
    if through.any():
        add_offset(graph, layer, through, affine.name)

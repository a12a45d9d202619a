"""Map the axis along which a factor varies from the input of an operator to its output, and back.

All operators here are linear without an offset, or positively homogeneous: f(s·x) = s·f(x) for a scalar s,
s > 0 for the second kind. A factor for each channel passes too where this module can follow its axis through
the static shapes: not through a Flatten that merges channels with pixels, nor along a padded or sliced axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.value_facts import Dims, dims

LINEAR = frozenset(
    {
        *("Identity", "Neg", "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Flatten", "Reshape"),
        *("Transpose", "Squeeze", "Unsqueeze", "Pad", "Slice", "Split", "Concat", "Add", "Sub", "Sum"),
    }
)
HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "MaxPool", "GlobalMaxPool", "ReduceMax"})
SEVERAL_INPUTS = frozenset({"Concat", "Add", "Sub", "Sum"})
BROADCASTING = frozenset({"Add", "Sub", "Sum", "Mul", "Div"})


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs whose numbers the operator passes on, without shapes, axes and pads."""
    inputs = [value for value in node.inputs if value is not None]
    return inputs if node.op_type in SEVERAL_INPUTS else inputs[:1]


def data_outputs(node: ir.Node) -> list[ir.Value]:
    """Return the outputs that scale with the input: not the Indices of MaxPool."""
    return list(node.outputs) if node.op_type == "Split" else list(node.outputs[:1])


def output_axis(node: ir.Node, source: ir.Value, axis: int) -> int | None:
    """Return the axis of the output along which a factor along this axis of the input lies, None if none."""
    into, out = dims(source), dims(node.outputs[0])
    if into is None or out is None or axis >= len(into):
        return None
    return _RULES.get(node.op_type, _same)(node, into, out, axis)


def input_axis(node: ir.Node, source: ir.Value, axis: int) -> int | None:
    """Return the axis of the input that ends up as this axis of the output, None if none."""
    into = dims(source)
    for candidate in range(0 if into is None else len(into)):
        if output_axis(node, source, candidate) == axis:
            return candidate
    return None


def _same(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    return axis if len(into) == len(out) and into[axis] is not None and into[axis] == out[axis] else None


def _broadcast(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    shifted = axis + len(out) - len(into)
    return shifted if into[axis] is not None and into[axis] == out[shifted] else None


def _pooling(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    return _same(node, into, out, axis) if axis <= 1 else None


def _reshape(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    """Return where the channels are behind a Reshape; None if their axis is split or merged."""
    size, behind = into[axis], into[axis + 1 :]
    if size is None or None in behind:
        return None
    stride = math.prod(d for d in behind if d is not None)
    for candidate in range(len(out)):
        rest = out[candidate + 1 :]
        if out[candidate] == size and None not in rest and math.prod(d for d in rest if d is not None) == stride:
            return candidate
    return None


def _transpose(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    perm = node.attributes.get_ints("perm", None)
    order = list(range(len(into)))[::-1] if perm is None else list(perm)
    return order.index(axis)


def _reduce(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    axes = _integers(node, "axes", 1)
    if not axes:
        return None
    reduced = {a % len(into) for a in axes}
    if axis in reduced:
        return None
    gone = 0 if node.attributes.get_int("keepdims", 1) else sum(a < axis for a in reduced)
    return axis - gone


def _pad(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    pads = _integers(node, "pads", 1)
    if pads is None or len(pads) != 2 * len(into) or pads[axis] or pads[axis + len(into)]:
        return None
    return _same(node, into, out, axis)


def _slice(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    axes = _integers(node, "axes", 3)
    if axes is None or axis in {a % len(into) for a in axes}:
        return None
    return _same(node, into, out, axis)


def _joined(node: ir.Node, into: Dims, out: Dims, axis: int) -> int | None:
    """Concat and Split: any axis but their own."""
    return None if axis == node.attributes.get_int("axis", 0) % len(into) else _same(node, into, out, axis)


def _integers(node: ir.Node, attribute: str, index: int) -> list[int] | None:
    """Return the integers of an attribute, or of the input that replaced it in a later opset."""
    if (found := node.attributes.get_ints(attribute, None)) is not None:
        return list(found)
    array = edit.constant(node.inputs[index]) if index < len(node.inputs) else None
    return None if array is None else [int(number) for number in array.reshape(-1)]


def pads_with_zero(node: ir.Node) -> bool:
    """Return whether a Pad adds nothing that would have to be scaled by itself."""
    if node.attributes.get_string("mode", "constant") != "constant":
        return True
    if (value := node.attributes.get_float("value", None)) is not None:
        return value == 0
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    array = edit.constant(node.inputs[2])
    return array is not None and not array.any()


_RULES: dict[str, Callable[[ir.Node, Dims, Dims, int], int | None]] = {
    **dict.fromkeys(BROADCASTING, _broadcast),
    **dict.fromkeys(("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"), _pooling),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), _reduce),
    **dict.fromkeys(("Concat", "Split"), _joined),
    "Transpose": _transpose,
    "Pad": _pad,
    "Slice": _slice,
}

"""The elements, as far as they are known before an inference, of the vectors that a graph computes shapes with."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_default_domain

_LONGEST = 16
"""Elements of a vector that may still be a shape."""


class Dim(msgspec.Struct, frozen=True):
    """A dimension that is known at run time only: one axis of a value."""

    value: ir.Value
    axis: int

    @property
    def dim(self) -> int | ir.SymbolicDim:
        """The dimension as the value's shape has it."""
        assert self.value.shape is not None
        return self.value.shape[self.axis]


Element: TypeAlias = "int | Dim"


def elements_of(value: ir.Value) -> list[Element] | None:
    """Return each element of a small integer vector or scalar: a constant or a Dim; None if unknown."""
    array = edit.constant(value)
    if array is not None:
        is_vector = array.dtype.kind in "iub" and array.size <= _LONGEST
        return [int(element) for element in array.reshape(-1)] if is_vector else None
    node = value.producer()
    if node is None or not is_default_domain(node):
        return None
    if node.op_type in ("Identity", "Squeeze", "Unsqueeze", "Cast", "Reshape"):
        return _of_input(node, 0)
    rule = _RULES.get(node.op_type)
    return rule(node) if rule else None


def _of_input(node: ir.Node, index: int) -> list[Element] | None:
    value = node.inputs[index]
    return None if value is None else elements_of(value)


def _shape(node: ir.Node) -> list[Element] | None:
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    dims: list[Element] = [
        dim if isinstance(dim, int) else Dim(source, axis) for axis, dim in enumerate(source.shape)
    ]
    return dims[node.attributes.get_int("start", None) : node.attributes.get_int("end", None)]


def _gather(node: ir.Node) -> list[Element] | None:
    source, indices = _of_input(node, 0), edit.constant(node.inputs[1])
    if source is None or indices is None:
        return None
    return [source[int(index)] for index in indices.reshape(-1)]


def _slice(node: ir.Node) -> list[Element] | None:
    source = _of_input(node, 0)
    if source is None:
        return None
    if len(node.inputs) == 1:  # up to opset 9 the bounds are attributes
        bounds = [list(node.attributes[name].as_ints()) for name in ("starts", "ends")]
        steps = [1]
    else:
        arrays = [edit.constant(value) for value in (*node.inputs[1:3], *node.inputs[4:5])]
        if any(array is None for array in arrays):
            return None
        bounds = [[int(e) for e in array.reshape(-1)] for array in arrays[:2] if array is not None]
        steps = [int(e) for array in arrays[2:] if array is not None for e in array.reshape(-1)] or [1]
    starts, ends = bounds
    return source[starts[0] : ends[0] : steps[0]] if len(starts) == 1 else None


def _concat(node: ir.Node) -> list[Element] | None:
    joined: list[Element] = []
    for index in range(len(node.inputs)):
        elements = _of_input(node, index)
        if elements is None:
            return None
        joined.extend(elements)
    return joined


def _constant_of_shape(node: ir.Node) -> list[Element] | None:
    count = _of_input(node, 0)
    if count is None or len(count) != 1 or isinstance(count[0], Dim) or count[0] > _LONGEST:
        return None
    fill = node.attributes.get_tensor("value", None)
    return [0 if fill is None else int(fill.numpy().reshape(-1)[0])] * count[0]


def _equal(node: ir.Node) -> list[Element] | None:
    pairs = _pairs(_of_input(node, 0), _of_input(node, 1))
    if pairs is None:
        return None
    result: list[Element] = []
    for left, right in pairs:
        if isinstance(left, Dim) or isinstance(right, Dim):
            other = right if isinstance(left, Dim) else left
            if isinstance(other, Dim) or other >= 0:
                return None
            result.append(0)  # a dimension is never negative
        else:
            result.append(int(left == right))
    return result


def _mul(node: ir.Node) -> list[Element] | None:
    pairs = _pairs(_of_input(node, 0), _of_input(node, 1))
    if pairs is None:
        return None
    result: list[Element] = []
    for left, right in pairs:
        if isinstance(left, Dim) or isinstance(right, Dim):
            return None
        result.append(left * right)
    return result


def _where(node: ir.Node) -> list[Element] | None:
    condition = _of_input(node, 0)
    pairs = _pairs(_of_input(node, 1), _of_input(node, 2))
    if condition is None or pairs is None or len(condition) != len(pairs):
        return None
    if any(isinstance(element, Dim) for element in condition):
        return None
    return [yes if chosen else no for chosen, (yes, no) in zip(condition, pairs, strict=True)]


def _pairs(left: list[Element] | None, right: list[Element] | None) -> list[tuple[Element, Element]] | None:
    if left is None or right is None:
        return None
    length = max(len(left), len(right))
    if {len(left), len(right)} - {1, length}:
        return None
    stretched = [side * length if len(side) == 1 else side for side in (left, right)]
    return list(zip(*stretched, strict=True))


_RULES = {
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Equal": _equal,
    "Mul": _mul,
    "Where": _where,
}

"""Evaluate the small vectors that a graph computes sizes with, at several batch sizes at once.

A content is one float64 array per batch size of the walk; NaN is an unknown size. An element follows
the batch if it is k·batch for a whole k at each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from nfexport.graph.libraries import Array, ir, np

Content: TypeAlias = "tuple[Array, ...]"

LONGEST = 64
"""Elements of a constant that may still be sizes."""


def follows(content: Content) -> bool:
    """Return whether the content is not the same at every batch size."""
    return any(not np.array_equal(content[0], other, equal_nan=True) for other in content[1:])


def multiples(content: Content, batches: Sequence[int]) -> list[int | None] | None:
    """Return k for each element that is k·batch, and None for each that is constant; None if one is neither."""
    found: list[int | None] = []
    for elements in zip(*(array.reshape(-1) for array in content), strict=True):
        if np.isnan(elements).any() or len(set(elements)) == 1:
            found.append(None)
            continue
        factors = {element / batch for element, batch in zip(elements, batches, strict=True)}
        factor = factors.pop()
        if factors or factor != int(factor):
            return None
        found.append(int(factor))
    return found


def evaluate(node: ir.Node, arrays: Sequence[Array | None]) -> Array | None:
    """Return what the node computes from arrays of sizes; None if it is none of the operators of such chains."""
    rule = _RULES.get(node.op_type)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(rule(node, arrays), dtype=np.float64)
    except (ValueError, IndexError, TypeError, AssertionError):
        return None  # an unknown size in it, or a form that shapes do not have


def axes_of(node: ir.Node, arrays: Sequence[Array | None], index: int = 1) -> list[int] | None:
    """Return the axes that a node names, by an attribute or in its input; None if it names none."""
    if (axes := node.attributes.get_ints("axes", None)) is not None:
        return list(axes)
    array = arrays[index] if index < len(arrays) else None
    return None if array is None else [int(axis) for axis in array.reshape(-1)]


def _array(arrays: Sequence[Array | None], index: int) -> Array:
    array = arrays[index]
    assert array is not None
    return array


def _whole(array: Array) -> Array:
    return array.astype(np.int64)


def _gather(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    return np.take(_array(arrays, 0), _whole(_array(arrays, 1)), axis=node.attributes.get_int("axis", 0))


def _slice(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    given = [None if array is None else [int(e) for e in array.reshape(-1)] for array in arrays[1:]]
    if any(bounds is not None and len(bounds) != 1 for bounds in given):
        raise ValueError("a vector of sizes has one axis")
    if len(arrays) == 1:
        given = [list(node.attributes[name].as_ints()) for name in ("starts", "ends")]
    start, end = ((bounds or [0, 0])[0] for bounds in given[:2])
    step = (given[3] or [1])[0] if len(given) > 3 else 1
    return _array(arrays, 0)[start:end:step]


def _concat(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    return np.concatenate([_array(arrays, index) for index in range(len(arrays))])


def _squeeze(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    axes = axes_of(node, arrays)
    return np.squeeze(_array(arrays, 0), None if axes is None else tuple(axes))


def _unsqueeze(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    return np.expand_dims(_array(arrays, 0), tuple(axes_of(node, arrays) or ()))


def _reshape(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    return _array(arrays, 0).reshape([int(e) for e in _array(arrays, 1)])


def _cast(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    target = ir.DataType(node.attributes["to"].as_int())
    return _array(arrays, 0) if target.is_floating_point() else np.trunc(_array(arrays, 0))


def _div(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    quotient: Array = _array(arrays, 0) / _array(arrays, 1)
    value = node.outputs[0]
    return quotient if value.dtype is not None and value.dtype.is_floating_point() else np.trunc(quotient)


def _where(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    return np.where(_array(arrays, 0).astype(bool), _array(arrays, 1), _array(arrays, 2))


def _constant_of_shape(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    value = node.attributes.get_tensor("value", None)
    fill = 0.0 if value is None else float(value.numpy().reshape(-1)[0])
    return np.full([int(e) for e in _array(arrays, 0)], fill)


def _reduce_prod(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    return np.asarray(np.prod(_array(arrays, 0), keepdims=bool(node.attributes.get_int("keepdims", 1))))


def _binary(function: str) -> Callable[[ir.Node, Sequence[Array | None]], Array]:
    return lambda node, arrays: np.asarray(getattr(np, function)(_array(arrays, 0), _array(arrays, 1)))


def _unary(function: str) -> Callable[[ir.Node, Sequence[Array | None]], Array]:
    return lambda node, arrays: np.asarray(getattr(np, function)(_array(arrays, 0)))


_RULES: dict[str, Callable[[ir.Node, Sequence[Array | None]], Array]] = {
    "Identity": _unary("asarray"),
    "Floor": _unary("floor"),
    "Ceil": _unary("ceil"),
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Cast": _cast,
    "Add": _binary("add"),
    "Sub": _binary("subtract"),
    "Mul": _binary("multiply"),
    "Div": _div,
    "Mod": _binary("mod"),
    "Min": _binary("minimum"),
    "Max": _binary("maximum"),
    "Equal": _binary("equal"),
    "Where": _where,
    "ConstantOfShape": _constant_of_shape,
    "ReduceProd": _reduce_prod,
}

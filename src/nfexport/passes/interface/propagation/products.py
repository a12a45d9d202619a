"""Operators of several operands that may all hold the batch: broadcasting ones, and products of matrices.

An operand without the batch must be the same for every entry: of size 1, or absent, in its place. A constant
that repeats one entry there is cut down to one.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.libraries import ir
from nfexport.passes.interface.propagation.constants import keep_one_entry
from nfexport.passes.interface.propagation.walk import BatchAxis, Rule, Walk


def elementwise(walk: Walk, node: ir.Node) -> BatchAxis:
    """Broadcast from the right: the batch in the same place everywhere, the rest the same for all entries."""
    return _broadcast(walk, node, range(len(node.inputs)))


def matmul(walk: Walk, node: ir.Node) -> BatchAxis:
    """Multiply matrices in the last two axes: the batch is an axis before them, or the rows, or the columns."""
    ranks = [len(walk.dims(node, index)) for index in (0, 1)]
    left, right = walk.batch_axis(node, 0), walk.batch_axis(node, 1)
    for place, rank, summed in ((left, ranks[0], ranks[0] - 1), (right, ranks[1], max(ranks[1] - 2, 0))):
        if place is not None and place.axis == summed:
            walk.refuse(node, "sums over the axis of the batch")
        if place is not None and place.axis >= rank - 2:
            if left is not None and right is not None:
                walk.refuse(node, "multiplies every entry of the batch with every other")
            if place is left:
                return BatchAxis(max(ranks) - 2 if ranks[1] > 1 else place.axis, place.times)
            return BatchAxis(max(ranks) - 1 if ranks[0] > 1 else place.axis - 1, place.times)
    return _broadcast(walk, node, (0, 1))


def gemm(walk: Walk, node: ir.Node) -> BatchAxis:
    """Multiply two matrices: the batch is the rows of one of them."""
    left, right = walk.batch_axis(node, 0), walk.batch_axis(node, 1)
    rows = 1 if node.attributes.get_int("transA", 0) else 0
    columns = 0 if node.attributes.get_int("transB", 0) else 1
    if left is not None and right is None and left.axis == rows:
        place = BatchAxis(0, left.times)
    elif left is None and right is not None and right.axis == columns:
        place = BatchAxis(1, right.times)
    else:
        walk.refuse(node, "sums over the axis of the batch, or multiplies every entry with every other")
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        _fit(walk, node, 2, place, from_right=2 - place.axis)
    return place


def einsum(walk: Walk, node: ir.Node) -> BatchAxis:
    """Follow the letter of the batch from the inputs to the output."""
    equation = node.attributes["equation"].as_string().replace(" ", "")
    terms, arrow, result = equation.partition("->")
    places = [walk.batch_axis(node, index) for index in range(len(node.inputs))]
    if not arrow or "." in equation:
        walk.refuse(node, f"has the equation '{equation}', in which the place of the batch is not plain")
    pairs = list(zip(terms.split(","), places, strict=True))
    letters = {term[place.axis] for term, place in pairs if place is not None}
    times = {place.times for place in places if place is not None}
    letter = letters.pop()
    shared = [term for term, place in pairs if place is None and letter in term]
    if letters or shared or len(times) > 1 or letter not in result:
        walk.refuse(node, f"mixes the entries of the batch by its equation '{equation}'")
    return BatchAxis(result.index(letter), times.pop())


def _broadcast(walk: Walk, node: ir.Node, indices: Sequence[int]) -> BatchAxis:
    ranks = {index: len(walk.dims(node, index)) for index in indices if node.inputs[index] is not None}
    found = {index: place for index in ranks if (place := walk.batch_axis(node, index)) is not None}
    places = {(ranks[index] - place.axis, place.times) for index, place in found.items()}
    if len(places) > 1:
        walk.refuse(node, "reads the batch in two places at once")
    from_right, times = places.pop()
    place = BatchAxis(max(ranks.values()) - from_right, times)
    if times is None and len(found) > 1:
        walk.refuse(node, "reads two values whose numbers of entries for each image are not known")
    for index in ranks:
        if index not in found:
            _fit(walk, node, index, place, from_right=from_right)
    return place


def _fit(walk: Walk, node: ir.Node, index: int, place: BatchAxis, *, from_right: int) -> None:
    """Make sure that an operand without a batch is the same for every entry of it."""
    value = node.inputs[index]
    assert value is not None
    if (own := walk.batch_axis(node, index)) is not None:
        if own != BatchAxis(len(walk.dims(node, index)) - from_right, place.times):
            walk.refuse(node, "reads the batch in two places at once")
        return
    if walk.follows(value):
        walk.refuse(node, "computes with the size of the batch")
    dims = walk.dims(node, index)
    axis = len(dims) - from_right
    if axis < 0 or dims[axis] == 1:
        return
    same = (
        place.times is not None and dims[axis] == walk.old * place.times and keep_one_entry(walk, node, index, axis)
    )
    if not same:
        walk.refuse(node, f"reads '{value.name}', which has other numbers for each of {dims[axis]} entries")


_ELEMENTWISE = """Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Clip Div Equal Greater GreaterOrEqual Less
LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor"""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), elementwise),
    "MatMul": matmul,
    "Gemm": gemm,
    "Einsum": einsum,
}

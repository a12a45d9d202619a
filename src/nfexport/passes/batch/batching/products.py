"""Operators of several operands that may all hold the batch: broadcasting ones, and products of matrices.

An operand without the batch must be the same for every entry: of size 1, or absent, in its place. A constant
that repeats one entry there is cut down to one.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from nfexport.passes.batch.batching.rewriting import keep_one_entry
from nfexport.passes.batch.batching.sizes import integer
from nfexport.passes.batch.batching.walk import Lot, Rule, Walk


def elementwise(walk: Walk, node: ir.Node) -> Lot:
    """Broadcast from the right: the batch in the same place everywhere, the rest the same for all entries."""
    return _broadcast(walk, node, range(len(node.inputs)))


def matmul(walk: Walk, node: ir.Node) -> Lot:
    """Multiply matrices in the last two axes: the batch is an axis before them, or the rows, or the columns."""
    ranks = [len(walk.dims(node, index)) for index in (0, 1)]
    left, right = walk.lot(node, 0), walk.lot(node, 1)
    for lot, rank, summed in ((left, ranks[0], ranks[0] - 1), (right, ranks[1], max(ranks[1] - 2, 0))):
        if lot is not None and lot.axis == summed:
            walk.refuse(node, "sums over the axis of the batch")
        if lot is not None and lot.axis >= rank - 2:
            if left is not None and right is not None:
                walk.refuse(node, "multiplies every entry of the batch with every other")
            if lot is left:
                return Lot(max(ranks) - 2 if ranks[1] > 1 else lot.axis, lot.times)
            return Lot(max(ranks) - 1 if ranks[0] > 1 else lot.axis - 1, lot.times)
    return _broadcast(walk, node, (0, 1))


def gemm(walk: Walk, node: ir.Node) -> Lot:
    left, right = walk.lot(node, 0), walk.lot(node, 1)
    rows = 1 if integer(node, "transA", 0) else 0
    columns = 0 if integer(node, "transB", 0) else 1
    if left is not None and right is None and left.axis == rows:
        lot = Lot(0, left.times)
    elif left is None and right is not None and right.axis == columns:
        lot = Lot(1, right.times)
    else:
        walk.refuse(node, "sums over the axis of the batch, or multiplies every entry with every other")
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        _fit(walk, node, 2, lot, from_right=2 - lot.axis)
    return lot


def einsum(walk: Walk, node: ir.Node) -> Lot:
    equation = node.attributes["equation"].as_string().replace(" ", "")
    terms, arrow, result = equation.partition("->")
    lots = [walk.lot(node, index) for index in range(len(node.inputs))]
    if not arrow or "." in equation:
        walk.refuse(node, f"has the equation '{equation}', in which the place of the batch is not plain")
    pairs = list(zip(terms.split(","), lots, strict=True))
    letters = {term[lot.axis] for term, lot in pairs if lot is not None}
    times = {lot.times for lot in lots if lot is not None}
    letter = letters.pop()
    shared = [term for term, lot in pairs if lot is None and letter in term]
    if letters or shared or len(times) > 1 or letter not in result:
        walk.refuse(node, f"mixes the entries of the batch by its equation '{equation}'")
    return Lot(result.index(letter), times.pop())


def _broadcast(walk: Walk, node: ir.Node, indices: Sequence[int]) -> Lot:
    ranks = {index: len(walk.dims(node, index)) for index in indices if node.inputs[index] is not None}
    lots = {index: lot for index in ranks if (lot := walk.lot(node, index)) is not None}
    places = {(ranks[index] - lot.axis, lot.times) for index, lot in lots.items()}
    if len(places) > 1:
        walk.refuse(node, "reads the batch in two places at once")
    from_right, times = places.pop()
    lot = Lot(max(ranks.values()) - from_right, times)
    if times is None and len(lots) > 1:
        walk.refuse(node, "reads two values whose numbers of entries for each picture are not known")
    for index in ranks:
        if index not in lots:
            _fit(walk, node, index, lot, from_right=from_right)
    return lot


def _fit(walk: Walk, node: ir.Node, index: int, lot: Lot, *, from_right: int) -> None:
    """Make sure that an operand without a batch is the same for every entry of it."""
    value = node.inputs[index]
    assert value is not None
    if (own := walk.lot(node, index)) is not None:
        if own != Lot(len(walk.dims(node, index)) - from_right, lot.times):
            walk.refuse(node, "reads the batch in two places at once")
        return
    if walk.follows(value):
        walk.refuse(node, "computes with the size of the batch")
    dims = walk.dims(node, index)
    axis = len(dims) - from_right
    if axis < 0 or dims[axis] == 1:
        return
    same = lot.times is not None and dims[axis] == walk.old * lot.times and keep_one_entry(walk, node, index, axis)
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

"""Operators that need the batch in several operands: what is the same for all entries is repeated for each.

    Concat(constant [B, 1, C], x)  →  Concat(Expand(constant [1, 1, C], [dim(x, 0), 1, 1]), x)

A class token is such a constant, and the initial state of an LSTM.
"""

from __future__ import annotations

import onnx_ir as ir

from nfexport.passes.batch.batching.axes import keep_apart
from nfexport.passes.batch.batching.rewriting import keep_one_entry, repeat
from nfexport.passes.batch.batching.sizes import integer
from nfexport.passes.batch.batching.walk import Lot, Rule, Walk

_SEQUENCE_LENGTHS, _STATES = 4, (5, 6)
"""Inputs of LSTM, GRU and RNN."""


def concat(walk: Walk, node: ir.Node) -> Lot:
    """Join along another axis than the batch."""
    places = {lot: index for index in range(len(node.inputs)) if (lot := walk.lot(node, index)) is not None}
    if len(places) != 1:
        walk.refuse(node, "reads the batch in two places at once")
    ((lot, source),) = places.items()
    like = node.inputs[source]
    assert like is not None
    keep_apart(walk, node, lot, [integer(node, "axis", 1)], index=source)
    for index, value in enumerate(node.inputs):
        if value is not None and value not in walk.lots:
            _repeat(walk, node, index, lot, lot.axis, like)
    return lot


def recurrent(walk: Walk, node: ir.Node) -> list[Lot]:
    """Go along sequences [steps, N, …], from states [directions, N, hidden]."""
    lot, data = walk.lot(node, 0), node.inputs[0]
    if lot is None or data is None or lot.axis != 1 or integer(node, "layout", 0):
        walk.refuse(node, "does not have the batch in axis 1 of its input")
    if len(node.inputs) > _SEQUENCE_LENGTHS and node.inputs[_SEQUENCE_LENGTHS] is not None:
        walk.refuse(node, "has a length for each sequence")
    for index, value in enumerate(node.inputs[1:], 1):
        if value is None or (index in _STATES and walk.lots.get(value) == lot):
            continue
        if value in walk.lots or walk.follows(value):
            walk.refuse(node, "has the batch in an input that should be the same for all entries")
        if index in _STATES:
            _repeat(walk, node, index, lot, 1, data)
    return [Lot(2, lot.times), Lot(1, lot.times), Lot(1, lot.times)]


def together(walk: Walk, node: ir.Node) -> Lot:
    """Take several inputs [N, …], entry by entry."""
    lots = [walk.lot(node, index) for index in range(_TOGETHER[node.op_type])]
    if any(lot != lots[0] for lot in lots) or lots[0] is None or lots[0].axis != 0:
        walk.refuse(node, "does not have the batch in axis 0 of all its inputs")
    if node.op_type == "Attention" and any(value is not None for value in node.inputs[3:]):
        walk.refuse(node, "is an attention with a mask or a cache")
    return lots[0]


def _repeat(walk: Walk, node: ir.Node, index: int, lot: Lot, axis: int, like: ir.Value) -> None:
    """Give an operand without the batch an entry for each of it, by the size that `like` has along the axis."""
    value = node.inputs[index]
    assert value is not None
    if lot.times is None or walk.follows(value):
        walk.refuse(node, f"reads '{value.name}', which cannot be repeated for each entry of the batch")
    if walk.dims(node, index)[axis] != 1 and not keep_one_entry(walk, node, index, axis):
        walk.refuse(node, f"reads '{value.name}', which has other numbers for each entry of the batch")
    repeat(walk, node, index, axis, like, lot.times)


_TOGETHER = {"GridSample": 2, "Attention": 3}

RULES: dict[str, Rule] = {
    **dict.fromkeys(_TOGETHER, together),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "Concat": concat,
}

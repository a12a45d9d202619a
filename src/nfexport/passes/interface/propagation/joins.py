"""Operators that need the batch in several operands: what is the same for all entries is repeated for each.

    Concat(constant [B, 1, C], x)  →  Concat(Expand(constant [1, 1, C], [dim(x, 0), 1, 1]), x)

A class token is such a constant, and the initial state of an LSTM.
"""

from __future__ import annotations

from nfexport.graph.libraries import ir
from nfexport.passes.interface.propagation.axis_rules import keep_apart
from nfexport.passes.interface.propagation.constants import keep_one_entry, repeat
from nfexport.passes.interface.propagation.walk import BatchAxis, Rule, Walk

_SEQUENCE_LENGTHS, _STATES = 4, (5, 6)
"""Inputs of LSTM, GRU and RNN."""


def concat(walk: Walk, node: ir.Node) -> BatchAxis:
    """Join along another axis than the batch."""
    found = {place: index for index in range(len(node.inputs)) if (place := walk.batch_axis(node, index)) is not None}
    if len(found) != 1:
        walk.refuse(node, "reads the batch in two places at once")
    ((place, source),) = found.items()
    like = node.inputs[source]
    assert like is not None
    keep_apart(walk, node, place, [node.attributes.get_int("axis", 1)], index=source)
    for index, value in enumerate(node.inputs):
        if value is not None and value not in walk.batch_axes:
            _repeat(walk, node, index, place, place.axis, like)
    return place


def recurrent(walk: Walk, node: ir.Node) -> list[BatchAxis]:
    """Go along sequences [steps, N, …], from states [directions, N, hidden]."""
    place, data = walk.batch_axis(node, 0), node.inputs[0]
    if place is None or data is None or place.axis != 1 or node.attributes.get_int("layout", 0) != 0:
        walk.refuse(node, "does not have the batch in axis 1 of its input")
    if len(node.inputs) > _SEQUENCE_LENGTHS and node.inputs[_SEQUENCE_LENGTHS] is not None:
        walk.refuse(node, "has a length for each sequence")
    for index, value in enumerate(node.inputs[1:], 1):
        if value is None or (index in _STATES and walk.batch_axes.get(value) == place):
            continue
        if value in walk.batch_axes or walk.follows(value):
            walk.refuse(node, "has the batch in an input that should be the same for all entries")
        if index in _STATES:
            _repeat(walk, node, index, place, 1, data)
    return [BatchAxis(2, place.times), BatchAxis(1, place.times), BatchAxis(1, place.times)]


def together(walk: Walk, node: ir.Node) -> BatchAxis:
    """Take several inputs [N, …], entry by entry."""
    places = [walk.batch_axis(node, index) for index in range(_TOGETHER[node.op_type])]
    if any(place != places[0] for place in places) or places[0] is None or places[0].axis != 0:
        walk.refuse(node, "does not have the batch in axis 0 of all its inputs")
    if node.op_type == "Attention" and any(value is not None for value in node.inputs[3:]):
        walk.refuse(node, "is an attention with a mask or a cache")
    return places[0]


def _repeat(walk: Walk, node: ir.Node, index: int, place: BatchAxis, axis: int, like: ir.Value) -> None:
    """Give an operand without the batch an entry for each of it, by the size that `like` has along the axis."""
    value = node.inputs[index]
    assert value is not None
    if place.times is None or walk.follows(value):
        walk.refuse(node, f"reads '{value.name}', which cannot be repeated for each entry of the batch")
    if walk.dims(node, index)[axis] != 1 and not keep_one_entry(walk, node, index, axis):
        walk.refuse(node, f"reads '{value.name}', which has other numbers for each entry of the batch")
    repeat(walk, node, index, axis, like, place.times)


_TOGETHER = {"GridSample": 2, "Attention": 3}

RULES: dict[str, Rule] = {
    **dict.fromkeys(_TOGETHER, together),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "Concat": concat,
}

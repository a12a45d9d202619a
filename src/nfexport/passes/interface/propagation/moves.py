"""Operators that move entries without changing them: where the batch goes to."""

from __future__ import annotations

from nfexport.graph.libraries import ir
from nfexport.passes.interface.propagation.axis_rules import axis_of, first_batch_axis, keep_apart
from nfexport.passes.interface.propagation.walk import BatchAxis, Rule, Walk


def transpose(walk: Walk, node: ir.Node) -> BatchAxis:
    """Move the batch with its axis."""
    place, perm = first_batch_axis(walk, node), node.attributes.get_ints("perm", None)
    order = list(reversed(range(len(walk.dims(node))))) if perm is None else list(perm)
    return BatchAxis(order.index(place.axis), place.times)


def unsqueeze(walk: Walk, node: ir.Node) -> BatchAxis:
    """Move the batch behind axes of one that are put before it."""
    place, axes = first_batch_axis(walk, node), walk.attributed(node, "axes", 1)
    if axes is None:
        walk.refuse(node, "adds axes that are not known")
    rank = len(walk.dims(node)) + len(axes)
    new = {axis % rank for axis in axes}
    return BatchAxis([axis for axis in range(rank) if axis not in new][place.axis], place.times)


def squeeze(walk: Walk, node: ir.Node) -> BatchAxis:
    """Move the batch forward where axes of one before it go."""
    place, axes = first_batch_axis(walk, node), walk.attributed(node, "axes", 1)
    if axes is None:
        walk.refuse(node, "removes whatever axes have the size 1, the batch perhaps among them")
    axes = keep_apart(walk, node, place, axes)
    return BatchAxis(place.axis - sum(axis < place.axis for axis in axes), place.times)


def split(walk: Walk, node: ir.Node) -> BatchAxis:
    """Leave the batch where it is: another axis is split."""
    place = first_batch_axis(walk, node)
    keep_apart(walk, node, place, [node.attributes.get_int("axis", 0)])
    return place


def gather(walk: Walk, node: ir.Node) -> BatchAxis:
    """Pick along an axis of the data, or, with the batch in the indices, for each entry from the same data."""
    data, indices = walk.batch_axis(node, 0), walk.batch_axis(node, 1)
    axis = axis_of(walk, node, default=0)
    if data is None:
        if indices is None:
            walk.refuse(node, "computes with the size of the batch")
        return BatchAxis(axis + indices.axis, indices.times)
    if indices is not None or any(walk.follows(value) for value in node.inputs[1:] if value is not None):
        walk.refuse(node, "reads data of one entry of the batch with the indices of another")
    keep_apart(walk, node, data, [axis])
    return data if data.axis < axis else BatchAxis(data.axis - 1 + len(walk.dims(node, 1)), data.times)


RULES: dict[str, Rule] = {
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Split": split,
    "Gather": gather,
}

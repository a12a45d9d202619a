"""Operators that move entries without changing them: where the batch goes to."""

from __future__ import annotations

import onnx_ir as ir

from nfexport.passes.batch.batching.axes import axis_of, first_lot, keep_apart
from nfexport.passes.batch.batching.sizes import integer
from nfexport.passes.batch.batching.walk import Lot, Rule, Walk


def transpose(walk: Walk, node: ir.Node) -> Lot:
    lot, perm = first_lot(walk, node), node.attributes.get("perm")
    order = list(reversed(range(len(walk.dims(node))))) if perm is None else list(perm.as_ints())
    return Lot(order.index(lot.axis), lot.times)


def unsqueeze(walk: Walk, node: ir.Node) -> Lot:
    lot, axes = first_lot(walk, node), walk.attributed(node, "axes", 1)
    if axes is None:
        walk.refuse(node, "adds axes that are not known")
    rank = len(walk.dims(node)) + len(axes)
    new = {axis % rank for axis in axes}
    return Lot([axis for axis in range(rank) if axis not in new][lot.axis], lot.times)


def squeeze(walk: Walk, node: ir.Node) -> Lot:
    lot, axes = first_lot(walk, node), walk.attributed(node, "axes", 1)
    if axes is None:
        walk.refuse(node, "removes whatever axes have the size 1, the batch perhaps among them")
    axes = keep_apart(walk, node, lot, axes)
    return Lot(lot.axis - sum(axis < lot.axis for axis in axes), lot.times)


def split(walk: Walk, node: ir.Node) -> Lot:
    lot = first_lot(walk, node)
    keep_apart(walk, node, lot, [integer(node, "axis", 0)])
    return lot


def gather(walk: Walk, node: ir.Node) -> Lot:
    """Pick along an axis of the data, or, with the batch in the indices, for each entry from the same data."""
    data, indices = walk.lot(node, 0), walk.lot(node, 1)
    axis = axis_of(walk, node, default=0)
    if data is None:
        if indices is None:
            walk.refuse(node, "computes with the size of the batch")
        return Lot(axis + indices.axis, indices.times)
    if indices is not None or any(walk.follows(value) for value in node.inputs[1:] if value is not None):
        walk.refuse(node, "reads data of one entry of the batch with the indices of another")
    keep_apart(walk, node, data, [axis])
    return data if data.axis < axis else Lot(data.axis - 1 + len(walk.dims(node, 1)), data.times)


RULES: dict[str, Rule] = {
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Split": split,
    "Gather": gather,
}

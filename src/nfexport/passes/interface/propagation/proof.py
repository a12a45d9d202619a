"""Infer the shapes of a graph at several batch sizes, to see which outputs follow the batch."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.errors import PassError
from nfexport.graph.libraries import ir
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.cleanup.fold_constants import FoldConstants
from nfexport.passes.interface.propagation.walk import AGAIN


def infer_all(model: ir.Model) -> None:
    """Infer the shapes of a graph of fixed sizes in place, those too that it computes at run time."""
    infer_shapes(model)
    if all(_is_known(value) for node in model.graph for value in node.outputs):
        return
    # with every shape known, what is computed from shapes is constant; the graph itself goes on to compute it
    copy = model.clone()
    FoldConstants().apply(copy)
    known = {value.name: value for node in copy.graph for value in node.outputs if value.shape is not None}
    for node in model.graph:
        for value in node.outputs:
            if value.name in known and not _is_known(value):
                value.shape, value.type = known[value.name].shape, value.type or known[value.name].type


def _is_known(value: ir.Value) -> bool:
    return not value.name or (value.shape is not None and value.shape.is_static())


def followers_of(model: ir.Model, entries: Sequence[ir.Value], old: str) -> list[ir.Value]:
    """Return the outputs whose first axis is the dynamic batch, by inference or by what the file declares."""
    followers = []
    shapes = [outputs_at(model, entries, batch) for batch in (2, 3)]
    for index, value in enumerate(model.graph.outputs):
        one, other = (None if shape is None else shape[index] for shape in shapes)
        pairs = list(zip(one, other, strict=True)) if one and other and len(one) == len(other) else []
        moving = {axis: pair for axis, pair in enumerate(pairs) if None not in pair and pair[0] != pair[1]}
        if moving and moving != {0: (2, 3)}:
            raise PassError(f"output '{value.name}' does not have the batch in its first axis alone", fix=AGAIN)
        declared = value.shape is not None and len(value.shape) > 0 and value.shape[0] == old
        if moving or (declared and not (pairs and None not in pairs[0])):
            followers.append(value)
    return followers


def prove(model: ir.Model, entries: Sequence[ir.Value], followers: Sequence[ir.Value], new: int | None) -> list[str]:
    """Infer the shapes from nothing but the inputs, and look for the batch in the outputs.

    Return the names of those of which inference knows nothing (it follows few sizes that are computed at run
    time). Raises PassError if it fails, or finds another size."""
    unproved: dict[str, None] = {}
    for batch in (2, 3) if new is None else (new,):
        shapes = outputs_at(model, entries, batch)
        if shapes is None:
            raise PassError(f"shape inference finds that the graph does not take a batch of {batch}", fix=AGAIN)
        for value, shape in zip(model.graph.outputs, shapes, strict=True):
            if value not in followers:
                continue
            found = shape[0] if shape else None
            if found is None:
                unproved[str(value.name)] = None
            elif found != batch:
                raise PassError(
                    f"output '{value.name}' has {found} entries for a batch of {batch} by shape inference", fix=AGAIN
                )
    return list(unproved)


def outputs_at(model: ir.Model, entries: Sequence[ir.Value], batch: int) -> list[list[int | None] | None] | None:
    """Return the shape of each output at a batch size, inferred from the inputs alone; None if that fails."""
    copy = model.clone()
    names = {value.name for value in entries}
    for value in copy.graph.inputs:
        if value.name in names and value.shape is not None:
            value.shape = ir.Shape([batch, *value.shape[1:]])
    for node in copy.graph:
        for value in node.outputs:
            value.shape = None
    infer_shapes(copy)
    if len(copy.graph) and all(value.shape is None for node in copy.graph for value in node.outputs):
        return None
    return [
        None if value.shape is None else [dim if isinstance(dim, int) else None for dim in value.shape]
        for value in copy.graph.outputs
    ]

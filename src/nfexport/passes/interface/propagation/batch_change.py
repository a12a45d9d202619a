"""Write another batch into a graph: its inputs, the constants that hold it, and its outputs."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.errors import PassError
from nfexport.graph.libraries import common_passes, ir
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.interface.propagation.proof import followers_of, infer_all
from nfexport.passes.interface.propagation.rules import RULES
from nfexport.passes.interface.propagation.walk import AGAIN, DYNAMIC, BatchAxis, Walk


def find_entries(graph: ir.Graph) -> tuple[list[ir.Value], dict[str, str]]:
    """Return the inputs that have the batch, and why the others have not."""
    found: list[ir.Value] = []
    others: dict[str, str] = {}
    for value in graph.inputs:
        name = str(value.name)
        if value.is_initializer():
            continue  # a constant, in the form of old IR versions
        if value.shape is None:
            raise PassError(f"input '{name}' has no known rank", fix=AGAIN)
        if len(value.shape) == 0:
            others[name] = "it is a scalar"
        elif found and first_size(value) != first_size(found[0]):
            others[name] = (
                f"its first axis is {first_size(value)}, and that of '{found[0].name}' is {first_size(found[0])}"
            )
        else:
            found.append(value)
    if not found:
        raise PassError("the graph has no input with an axis for a batch", fix="leave out --batch")
    return found, others


def first_size(value: ir.Value) -> int | str:
    """Return the first size of an input, a number or a name; each size without a name is one of its own."""
    assert value.shape is not None
    dim = value.shape[0]
    return dim if isinstance(dim, int) else dim.value or f"the open size of '{value.name}'"


def change(model: ir.Model, new: int | None) -> tuple[list[ir.Value], list[str]]:
    """Change the batch; return the outputs that have it, and the nodes whose constants were rewritten."""
    entries, _ = find_entries(model.graph)
    old = first_size(entries[0])
    common_passes.RemoveUnusedNodesPass()(model)
    if isinstance(old, str):
        infer_shapes(model)
        return _substitute(model, entries, old, new), []
    infer_all(model)
    walk = Walk(model, RULES, old=old, new=new)
    walk.batch_axes.update((value, BatchAxis(0)) for value in entries)
    for node in list(model.graph):
        walk.visit(node)
    for value in model.graph.outputs:
        _check_output(walk, value)
    for value, place in walk.batch_axes.items():
        if value.shape is not None:
            value.shape = _replaced(value.shape, place, new)
    common_passes.RemoveUnusedNodesPass()(model)  # constants that were rewritten
    infer_shapes(model)
    return [value for value in model.graph.outputs if value in walk.batch_axes], list(walk.rewritten)


def _check_output(walk: Walk, value: ir.Value) -> None:
    place = walk.batch_axes.get(value)
    if walk.follows(value):
        raise PassError(f"output '{value.name}' is computed from the size of the batch", fix=AGAIN)
    if place is not None and place.axis != 0:
        raise PassError(f"output '{value.name}' has the batch in axis {place.axis}, not in the first", fix=AGAIN)
    if place is not None and place.times != 1:
        many = "an unknown number of" if place.times is None else str(place.times)
        raise PassError(
            f"output '{value.name}' has {many} entries in its first axis for each of the batch", fix=AGAIN
        )


def _replaced(shape: ir.Shape, place: BatchAxis, new: int | None) -> ir.Shape:
    dims: list[int | str | ir.SymbolicDim | None] = list(shape)
    if new is None:
        dims[place.axis] = DYNAMIC if place.times == 1 else None
    else:
        dims[place.axis] = None if place.times is None else new * place.times
    return ir.Shape(dims)


def _substitute(model: ir.Model, entries: Sequence[ir.Value], old: str, new: int | None) -> list[ir.Value]:
    """Write a size, or the name "batch", for a dynamic batch; return the outputs that have it."""
    graph = model.graph
    if new is None and any(dim == DYNAMIC for value in graph.inputs for dim in value.shape or ()):
        raise PassError(
            f"an axis of the inputs that is not '{old}' is named '{DYNAMIC}' already", fix="leave out --batch dynamic"
        )
    followers = followers_of(model, entries, old)
    size = DYNAMIC if new is None else new
    for graph_or_body in (graph, *graph.subgraphs()):
        values = [*graph_or_body.inputs, *graph_or_body.outputs]
        values += [value for node in graph_or_body for value in node.outputs]
        for value in values:
            if value.shape is not None:
                value.shape = ir.Shape([size if dim == old else dim for dim in value.shape])
    for value in (*entries, *followers):
        if value.shape is not None:
            value.shape = ir.Shape([size, *value.shape[1:]])
    infer_shapes(model)
    return followers

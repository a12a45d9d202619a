"""Give a graph another batch: a fixed size, or the dynamic size "batch".

The batch is the first axis of the first input, and of every other input whose first axis has the same size or
name. A dynamic batch becomes a fixed one by writing its size: what the graph computes from it at run time goes
on to do so. A fixed batch is followed through the graph (propagation.walk), and each constant that holds it is
rewritten: targets of Reshape, Expand, Resize and Slice, and constants that are joined to it, such as a class
token for each picture. Intermediate shapes are written anew.

Refuses, naming the node: what mixes the entries of a batch (a sum, a sort or a normalisation over its axis),
what is not known to keep them apart (custom operators, bodies of If and Loop), sizes that cannot be rewritten
exactly; and outputs in which the batch is not the first axis alone. Checked afterwards by shape inference at two
batch sizes; facts['unproved'] lists the outputs whose first axis it cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from nfexport.errors import PassError
from nfexport.graph.libraries import common_passes, ir
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.passes.cleanup.tidy import infer_shapes
from nfexport.passes.interface.propagation.proof import followers_of, infer_all, outputs_at, prove
from nfexport.passes.interface.propagation.rules import RULES
from nfexport.passes.interface.propagation.walk import AGAIN, DYNAMIC, BatchAxis, Walk
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class ChangeBatch(Pass):
    """Give a graph another batch: a fixed size, or the dynamic size "batch".

    Raises PassError, and leaves the model as it was, if that is not exact."""

    name = "batch"
    stage, after = Stage.INTERFACE, ("rename",)
    options = (
        Option(
            flag="--batch",
            kind="size",
            choices=("dynamic",),
            metavar="N|dynamic",
            help="Change the batch size.",
            section="Graph",
            commands=("surgery",),
        ),
    )
    # static shapes would write the old batch into constants
    declines = ("fold-constants", "drop-expand", "static-shapes")
    changes = Changes.INTERFACE
    formula = "y[i] = f(x[i]) for every entry i of the new batch, f what the old graph computes for one entry"

    size: int | Literal["dynamic"]

    @classmethod
    def asked(cls, request: Request) -> ChangeBatch | None:
        """Change the batch of a file; an export traces with the batch that is asked for."""
        size = request.get("batch")
        return None if size is None else cls(size=size)

    def call(self, model: ir.Model) -> PassOutcome:
        """Change the batch in place."""
        if self.size != "dynamic" and (
            isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1
        ):
            raise PassError(
                f"a batch of {self.size} is no batch", fix="pass dynamic, or a size from 1 up, to --batch"
            )
        new = None if self.size == "dynamic" else self.size
        entries, left_alone = _entries(model.graph)
        old = _first(entries[0])
        if old == new or (new is None and old == DYNAMIC):
            return self.done(model, changed=0, summary=f"the batch is {self.size} already", left_alone=left_alone)
        # an attempt on a copy, which shares the weights: what it refuses has changed nothing
        trial = model.clone()
        followers, _ = _change(trial, new)
        # where inference fails on the old graph already (on a custom operator), it proves nothing about the new one
        unproved = [str(value.name) for value in followers]
        if outputs_at(model, (), 1) is not None:
            unproved = prove(trial, _entries(trial.graph)[0], followers, new)
        followers, rewritten = _change(model, new)
        names = [str(value.name) for value in followers]
        return self.done(
            model,
            changed=len(entries) + len(rewritten),
            summary=f"batch {'dynamic' if isinstance(old, str) else old} became {self.size}"
            + (f", {len(rewritten)} constants rewritten" if rewritten else ""),
            facts={
                "inputs": [str(value.name) for value in entries],
                "outputs": names,
                "outputs_without_batch": [
                    str(value.name) for value in model.graph.outputs if value.name not in names
                ],
                "rewritten": rewritten,
                "unproved": unproved,
            },
            left_alone=left_alone,
        )


def _entries(graph: ir.Graph) -> tuple[list[ir.Value], dict[str, str]]:
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
        elif found and _first(value) != _first(found[0]):
            others[name] = f"its first axis is {_first(value)}, and that of '{found[0].name}' is {_first(found[0])}"
        else:
            found.append(value)
    if not found:
        raise PassError("the graph has no input with an axis for a batch", fix="leave out --batch")
    return found, others


def _first(value: ir.Value) -> int | str:
    """Return the first size of an input, a number or a name; each size without a name is one of its own."""
    assert value.shape is not None
    dim = value.shape[0]
    return dim if isinstance(dim, int) else dim.value or f"the open size of '{value.name}'"


def _change(model: ir.Model, new: int | None) -> tuple[list[ir.Value], list[str]]:
    """Change the batch; return the outputs that have it, and the nodes whose constants were rewritten."""
    entries, _ = _entries(model.graph)
    old = _first(entries[0])
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

"""Change the batch size to a fixed number, or to the dynamic dimension "batch".

The batch is the first axis of the first input, and of every other input whose first axis has the same size or
name. A dynamic batch becomes a fixed one by writing its size: what the graph computes from it at run time goes
on to do so. A fixed batch is followed through the graph (propagation.walk), and each constant that holds it is
rewritten: targets of Reshape, Expand, Resize and Slice, and constants that are joined to it, such as a class
token for each image. Intermediate shapes are written anew.

Refuses, naming the node: what mixes the entries of a batch (a sum, a sort or a normalisation over its axis),
what is not known to keep them apart (custom operators, bodies of If and Loop), sizes that cannot be rewritten
exactly; and outputs in which the batch is not the first axis alone. Checked afterwards by shape inference at two
batch sizes; facts['unproved'] lists the outputs whose first axis it cannot tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nfexport.errors import PassError
from nfexport.graph.libraries import ir
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class ChangeBatch(Pass):
    """Change the batch size to a fixed number, or to the dynamic dimension "batch".

    Raises PassError, and leaves the model unchanged, if the change would not be exact."""

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
        from nfexport.passes.interface.propagation.batch_change import change, find_entries, first_size
        from nfexport.passes.interface.propagation.proof import outputs_at, prove
        from nfexport.passes.interface.propagation.walk import DYNAMIC

        new = None if self.size == "dynamic" else self.size
        if new is not None and (isinstance(new, bool) or not isinstance(new, int) or new < 1):
            raise PassError(f"the batch size must be at least 1, not {new}", fix="pass --batch dynamic, or a number")
        entries, left_alone = find_entries(model.graph)
        old = first_size(entries[0])
        if old == new or (new is None and old == DYNAMIC):
            return self.done(model, changed=0, summary=f"the batch is already {self.size}", left_alone=left_alone)
        # try on a copy that shares the weights, so that a refusal changes nothing
        trial = model.clone()
        followers, _ = change(trial, new)
        # where inference fails on the old graph already (on a custom operator), it proves nothing about the new one
        unproved = [str(value.name) for value in followers]
        if outputs_at(model, (), 1) is not None:
            unproved = prove(trial, find_entries(trial.graph)[0], followers, new)
        followers, rewritten = change(model, new)
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

"""Clear away what tracing leaves behind: Identity nodes, dead nodes, symbols that shape inference invented.

Dimensions are known by number or by a name that the graph's inputs give ('batch'). Other names come from an
earlier shape inference, which numbers them anew in each run, so that equal names need not mean equal sizes:
they are forgotten, and inferred again. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport import process
from nfexport.graph import edit
from nfexport.graph.libraries import common_passes, ir
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class Tidy(Pass):
    """Clear away what tracing leaves behind: Identity nodes, dead nodes, symbols that shape inference invented."""

    name = "tidy"
    stage = Stage.CLEANUP
    implied_by = (Bundle.EXPORT, Bundle.SURGERY)

    def call(self, model: ir.Model) -> PassOutcome:
        """Tidy in place and report how many nodes went."""
        before = len(model.graph)
        common_passes.IdentityEliminationPass()(model)
        edit.remove_dead(model)
        infer_shapes(model)
        removed = before - len(model.graph)
        return self.done(model, changed=removed, summary=f"{removed} idle nodes removed")


def infer_shapes(model: ir.Model) -> None:
    """Infer every shape in place, from what the inputs and the constants tell."""
    symbols = {
        dim.value for value in model.graph.inputs for dim in value.shape or () if isinstance(dim, ir.SymbolicDim)
    }
    for node in model.graph:
        for output in node.outputs:
            if output.shape is not None and not output.is_graph_output():
                output.shape = ir.Shape([_known(dim, symbols) for dim in output.shape])
    # a graph on which inference fails is left as it is, and the checker says why in its own words
    with process.quiet_loggers("onnx_ir"):
        common_passes.ShapeInferencePass()(model)


def _known(dim: int | ir.SymbolicDim, symbols: set[str | None]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    return dim.value if dim.value in symbols else None

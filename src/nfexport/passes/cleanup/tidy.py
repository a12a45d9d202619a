"""Clear away what tracing leaves behind: Identity nodes, dead nodes, symbols that shape inference invented.

Dimensions are known by number or by a name that the graph's inputs give ('batch'). Other names come from an
earlier shape inference, which numbers them anew in each run, so that equal names need not mean equal sizes:
they are forgotten, and inferred again. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import common_passes, ir
from nfexport.graph.shape_inference import infer_shapes
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

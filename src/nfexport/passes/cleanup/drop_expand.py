"""Remove an Expand in front of an operator that broadcasts its inputs anyway.

An attention gate written with expand_as is materialised at the size of the feature map in every inference. Exact: an
Expand to the shape of x only repeats elements, which the operator does by itself. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class DropExpand(Pass):
    """Remove an Expand in front of an operator that broadcasts its inputs anyway."""

    name = "drop-expand"
    # before static-shapes, which would otherwise rewrite the Expand
    stage, after = Stage.CLEANUP, ("fold-constants",)
    implied_by = (Bundle.EXPORT,)
    formula = "Mul(x, Expand(g, Shape(x)))  →  Mul(x, g)        the same for Add, Sub, Div"

    def call(self, model: ir.Model) -> PassOutcome:
        """Rewrite in place and report the number of nodes removed."""
        dropped = 0
        for node in model.graph:
            if not is_operator(node, "Mul", "Add", "Sub", "Div"):
                continue
            for index in (0, 1):
                value, other = node.inputs[index], node.inputs[1 - index]
                expand = None if value is None else value.producer()
                if expand is None or other is None or not is_operator(expand, "Expand"):
                    continue
                target = expand.inputs[1]
                shape = None if target is None else target.producer()
                if shape is None or not is_operator(shape, "Shape") or shape.inputs[0] is not other:
                    continue
                if {"start", "end"} & set(shape.attributes):
                    continue
                node.replace_input_with(index, expand.inputs[0])
                dropped += 1
        if dropped:
            edit.remove_dead(model)
        return self.done(model, changed=dropped, summary=f"{dropped} Expand nodes in front of a broadcast removed")

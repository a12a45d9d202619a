"""Keep runtimes from fusing a Pad into the MaxPool that follows it.

ONNX Runtime (1.31.1, its optimiser Pad_Fusion, on by default) moves the padding into the pooling, where a
padded cell counts as −∞ instead of 0: on an all −1 image it yields −1 where 0 is right. Every BiT network
has the pair. The optimiser passes over a pooling with auto_pad = VALID, which means the same as no padding.

Left alone, and named: a pooling that pads by itself too, for which VALID has another meaning. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class GuardPooling(Pass):
    """Keep runtimes from fusing a Pad into the MaxPool that follows it."""

    name = "guard-pooling"
    # after merge-pads, which leaves the pairs that it cannot merge
    stage = Stage.OPSET
    implied_by = (Bundle.EXPORT,)
    formula = "MaxPool(Pad(x, 0))  stays as it is, with auto_pad = VALID in place of NOTSET and all-zero pads"

    def call(self, model: ir.Model) -> PassOutcome:
        """Mark in place every MaxPool that reads a Pad."""
        guarded: list[str] = []
        left_alone: dict[str, str] = {}
        for node, _ in edit.nodes_with_subgraphs(model.graph):
            if not is_operator(node, "MaxPool") or node.inputs[0] is None:
                continue
            if not is_operator(node.inputs[0].producer(), "Pad"):
                continue
            if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
                continue
            if any(node.attributes.get_ints("pads", ())):
                left_alone[str(node.name)] = "it pads by itself, after a Pad"
                continue
            node.attributes.pop("pads", None)
            node.attributes["auto_pad"] = ir.AttrString("auto_pad", "VALID")
            guarded.append(str(node.name))
        return self.rewrote(model, guarded, "MaxPool behind a Pad kept apart from it", left_alone)

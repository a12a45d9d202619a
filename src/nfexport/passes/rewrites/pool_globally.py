"""Replace a mean over height and width by GlobalAveragePool.

The definitions agree: the mean over all pixels of each channel, which stay as 1 × 1.

Why: ONNX Runtime pools in its blocked layout, and reduces in the plain one, to which the whole map is
reordered first. The squeeze of every attention block is such a mean.

Leaves alone, and names: a mean of a value that is not known to have four axes. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator, label
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.passes.rewrites.convolutions.widening import reduced_axes
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class PoolGlobally(Pass):
    """Replace a mean over height and width by GlobalAveragePool."""

    name = "pool-globally"
    stage, after = Stage.REWRITES, ("merge-affine",)
    options = (
        Option(
            flag="--pool-globally",
            kind="switch",
            help="Replace means over height and width by GlobalAveragePool.",
            default_text="with --optimize",
        ),
    )
    implied_by = (Bundle.OPTIMIZE,)
    formula = (
        "ReduceMean(x, axes = (2, 3), keepdims = 1)  =  GlobalAveragePool(x),  x [batch, channels, height, width]"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Rewrite in place, in bodies of If and Loop too."""
        changed: list[str] = []
        left_alone: dict[str, str] = {}
        for node, _ in list(edit.nodes_with_subgraphs(model.graph)):
            if not is_operator(node, "ReduceMean"):
                continue
            if node.attributes.get_int("keepdims", 1) != 1:
                continue
            source = node.inputs[0]
            if source is None or source.shape is None:
                left_alone[label(node)] = "the shape of its input is unknown"
                continue
            if len(source.shape) != 4 or reduced_axes(node) != (2, 3):
                continue
            _replace(node, source)
            changed.append(label(node))
        if changed:
            edit.remove_dead(model)
        return self.rewrote(model, changed, "means over height and width written as GlobalAveragePool", left_alone)


def _replace(node: ir.Node, source: ir.Value) -> None:
    old = node.outputs[0]
    pooling = ir.node("GlobalAveragePool", [source], name=node.name)
    new = pooling.outputs[0]
    new.shape, new.type = old.shape, old.type
    pooling.metadata_props.update(node.metadata_props)
    graph = node.graph
    assert graph is not None
    graph.insert_before(node, pooling)
    edit.put_in_place(new, node)

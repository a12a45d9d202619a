"""Fold inference-mode BatchNormalization into a convolution or linear layer: the one before it, or those behind it.

Computed in float64 and rounded once. Source: arXiv:1502.03167, section 3.1, with the running statistics as constants.
Between the two there may be operators that change the layout alone, such as the Flatten with which BatchNormalization
is applied to rows, and in front of a layer means over pixels.

Refuses, naming the node: a training-form BatchNormalization, whose statistics come from the activations; a layer with
other consumers; a convolution behind it that pads, where there is an offset; weights or statistics that are not
constant. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator, is_training_batch_normalization
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.passes.folds.batch_norm import layer_before, layers_behind
from nfexport.passes.folds.scales.factor import Refusal
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class FoldBatchNormalization(Pass):
    """Fold inference-mode BatchNormalization into the convolution or linear layer before or behind it."""

    name = "fold-bn"
    # fold-ws makes weights constant
    stage, after = Stage.FOLDS, ("fold-ws",)
    options = (
        Option(
            flag="--fold-bn",
            help="Fold BatchNormalization into the layers next to it.",
            commands=("surgery",),
        ),
    )
    implied_by = (Bundle.EXPORT, Bundle.OPTIMIZE)
    formula = (
        "BN(Conv(x, w, b))  →  Conv(x, w', b'),   s = scale / sqrt(var + eps),  w' = s·w,  b' = s·(b − mean) + bias\n"
        "Conv(BN(x), w, b)  →  Conv(x, w', b'),   w'[o,i] = w[o,i]·s[i],  b'[o] = b[o] + Σ w[o,i]·(bias − s·mean)[i]"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Fold in place and report how many BatchNormalizations were folded."""
        folded: list[str] = []
        pending = [
            pair for pair in edit.nodes_with_subgraphs(model.graph) if is_operator(pair[0], "BatchNormalization")
        ]
        while True:  # one that is folded may have been in the way of another
            left_alone, refused = {}, []
            for node, at_top in pending:
                try:
                    if not at_top:
                        raise Refusal("it is inside the body of an If or Loop")
                    _fold(model.graph, node)
                except Refusal as refusal:
                    left_alone[str(node.name)] = str(refusal)
                    refused.append((node, at_top))
                    continue
                folded.append(str(node.name))
            if len(refused) == len(pending):
                break
            pending = refused
        if folded:
            edit.remove_dead(model)
        return self.done(
            model,
            changed=len(folded),
            summary=f"{len(folded)} BatchNormalizations folded into convolutions and linear layers",
            facts={"nodes": folded},
            left_alone=left_alone,
        )


def _fold(graph: ir.Graph, node: ir.Node) -> None:
    if is_training_batch_normalization(node):
        raise Refusal("it normalises with the statistics of its own input (training form)")
    if any(edit.constant(value) is None for value in node.inputs[1:5]):
        raise Refusal("its statistics are not constant")
    try:
        before = layer_before.find(node)
    except Refusal as reason:
        try:
            behind = layers_behind.find(node)
        except Refusal as other:
            raise Refusal(f"{reason}, and {other}") from None
        layers_behind.fold(graph, node, behind)
    else:
        layer_before.fold(graph, node, before)

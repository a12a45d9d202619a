"""Fold inference-mode BatchNormalization into the preceding convolution.

The fold is per output channel, computed in float64 and rounded once. Source: arXiv:1502.03167, section 3.1, with the
running statistics as constants.

Refuses, naming the node: a training-form BatchNormalization, whose statistics come from the activations; a
convolution with other consumers; weights or statistics that are not constant. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.constants import set_constant
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, is_training_batch_normalization
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class FoldBatchNormalization(Pass):
    """Fold inference-mode BatchNormalization into the preceding convolution."""

    name = "fold-bn"
    # fold-ws makes weights constant
    stage, after = Stage.FOLDS, ("fold-ws",)
    options = (
        Option(
            flag="--fold-bn",
            help="Fold BatchNormalization into the preceding convolution.",
            commands=("surgery",),
        ),
    )
    implied_by = (Bundle.EXPORT, Bundle.OPTIMIZE)
    formula = (
        "BN(Conv(x, w, b))  →  Conv(x, w', b'),   s = scale / sqrt(var + eps),   w' = s·w,   b' = s·(b − mean) + bias"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Fold in place and report how many BatchNormalizations were folded."""
        folded: list[str] = []
        left_alone: dict[str, str] = {}
        for node, at_top in list(edit.nodes_with_subgraphs(model.graph)):
            if not is_operator(node, "BatchNormalization"):
                continue
            reason = _why_not(node) if at_top else "it is inside the body of an If or Loop"
            if reason is not None:
                left_alone[str(node.name)] = reason
                continue
            _fold(model.graph, node)
            folded.append(str(node.name))
        if folded:
            edit.remove_dead(model)
        return self.done(
            model,
            changed=len(folded),
            summary=f"{len(folded)} BatchNormalizations folded into convolutions",
            facts={"nodes": folded},
            left_alone=left_alone,
        )


def _why_not(node: ir.Node) -> str | None:
    if is_training_batch_normalization(node):
        return "it normalises with the statistics of its own input (training form)"
    if any(edit.constant(value) is None for value in node.inputs[1:5]):
        return "its statistics are not constant"
    source = node.inputs[0]
    conv = None if source is None else source.producer()
    if source is None or conv is None or not is_operator(conv, "Conv"):
        return "no convolution comes before it"
    if edit.sole_consumer(source) is not node:
        return f"the convolution '{conv.name}' has other consumers"
    if edit.constant(conv.inputs[1]) is None or (_bias(conv) is not None and edit.constant(_bias(conv)) is None):
        return f"the weight of the convolution '{conv.name}' is not constant"
    return None


def _fold(graph: ir.Graph, node: ir.Node) -> None:
    source = node.inputs[0]
    assert source is not None
    conv = source.producer()
    assert conv is not None
    tensor, shift = edit.constant_tensor(conv.inputs[1]), node.inputs[2]
    assert tensor is not None
    assert shift is not None
    weight, dtype = _float64(conv.inputs[1]), tensor.dtype.numpy()
    scale, offset, mean, var = (_float64(value) for value in node.inputs[1:5])
    factor = scale / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
    bias = np.zeros_like(mean) if _bias(conv) is None else _float64(_bias(conv))
    exact = weight * factor.reshape(-1, *([1] * (weight.ndim - 1)))
    set_constant(graph, conv, 1, exact.astype(dtype), named=tensor.name)
    set_constant(graph, conv, 2, ((bias - mean) * factor + offset).astype(dtype), named=str(shift.name))
    edit.replace_value(node.outputs[0], source)
    graph.remove(node, safe=True)


def _bias(conv: ir.Node) -> ir.Value | None:
    return conv.inputs[2] if len(conv.inputs) > 2 else None


def _float64(value: ir.Value | None) -> Array:
    array = edit.constant(value)
    assert array is not None
    return array.astype(np.float64)

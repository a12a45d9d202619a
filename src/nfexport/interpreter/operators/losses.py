"""Losses, as files of networks in training have them."""

from __future__ import annotations

from typing import Any

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("NegativeLogLikelihoodLoss", since=12)
def _negative_log_likelihood(call: OperatorCall, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean is over the weights of the targets, as torch's."""
    ignored = call.integer("ignore_index", -100)
    return F.nll_loss(x, target.long(), weight, ignore_index=ignored, reduction=call.text("reduction", "mean"))


@operator("SoftmaxCrossEntropyLoss", since=12)
def _softmax_cross_entropy(call: OperatorCall, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Any:
    """The second output is the logarithm of the softmax."""
    scores = torch.log_softmax(x, 1)
    return _negative_log_likelihood(call, scores, target, weight), scores

"""Normalisations: (x − mean) / sqrt(var + eps), with the mean and the biased variance over various axes."""

from __future__ import annotations

from typing import Any

from nfexport.graph.recognisers import is_training_batch_normalization
from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import MICROSOFT, operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("BatchNormalization", since=7)
def _batch_normalization(
    call: OperatorCall, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> Any:
    """In the training form the statistics are those of x, and the running ones are returned:
    running' = running · momentum + statistic · (1 − momentum)."""
    if call.integer("spatial", 1) != 1:
        raise call.refuse("spatial = 0")
    eps, momentum = call.number("epsilon", 1e-5), call.number("momentum", 0.9)
    if not is_training_batch_normalization(call.node):
        return F.batch_norm(x, mean, var, scale, bias, False, 0.0, eps)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    own_var, own_mean = torch.var_mean(x, axes, correction=0)
    y = F.batch_norm(x, own_mean, own_var, scale, bias, False, 0.0, eps)
    running = (mean * momentum + own_mean * (1 - momentum), var * momentum + own_var * (1 - momentum))
    return y, *running, own_mean, own_var


@operator("InstanceNormalization", since=6)
def _instance_normalization(call: OperatorCall, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.group_norm(x, x.shape[1], scale, bias, call.number("epsilon", 1e-5))


@operator("GroupNormalization", since=18)
def _group_normalization_by_group(call: OperatorCall, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """scale and bias have an entry for each group."""
    each = x.shape[1] // call.integer("num_groups")
    scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(x, call.integer("num_groups"), scale, bias, call.number("epsilon", 1e-5))


@operator("GroupNormalization", since=21)
def _group_normalization(call: OperatorCall, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """scale and bias have an entry for each channel."""
    return F.group_norm(x, call.integer("num_groups"), scale, bias, call.number("epsilon", 1e-5))


@operator("LayerNormalization")
def _layer_normalization(call: OperatorCall, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    axis, eps = call.integer("axis", -1) % x.dim(), call.number("epsilon", 1e-5)
    shape = x.shape[axis:]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        y = F.layer_norm(x, shape, scale, bias, eps)
    else:
        y = F.layer_norm(x, shape, None, None, eps) * scale
        y = y if bias is None else y + bias
    if not (call.wants(1) or call.wants(2)):
        return y
    var, mean = torch.var_mean(x, list(range(axis, x.dim())), correction=0, keepdim=True)
    return y, mean, 1 / torch.sqrt(var + eps)


@operator("SkipLayerNormalization", domain=MICROSOFT)
def _skip_layer_normalization(
    call: OperatorCall,
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
) -> Any:
    """The normalised sum of x, skip and bias; the fourth output is the sum."""
    total = x + skip if bias is None else x + skip + bias
    y = F.layer_norm(total, x.shape[-1:], gamma, beta, call.number("epsilon", 1e-12))
    return y, None, None, total


@operator("RMSNormalization", since=23)
def _rms_normalization(call: OperatorCall, x: Tensor, scale: Tensor) -> Tensor:
    """x / sqrt(mean(x²) + eps) · scale."""
    axes = list(range(call.integer("axis", -1) % x.dim(), x.dim()))
    return x / torch.sqrt(x.square().mean(axes, keepdim=True) + call.number("epsilon", 1e-5)) * scale


@operator("MeanVarianceNormalization", since=9)
def _mean_variance_normalization(call: OperatorCall, x: Tensor) -> Tensor:
    """(x − mean) / (sqrt(var) + 1e-9), as the schema's function says."""
    axes = call.integers("axes") or [0, 2, 3]
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / (torch.sqrt(var) + 1e-9)


@operator("LRN")
def _lrn(call: OperatorCall, x: Tensor) -> Tensor:
    """x / (bias + alpha / size · Σ x²)^beta, summed over channels c − ⌊(size − 1) / 2⌋ to c + ⌈(size − 1) / 2⌉."""
    size = call.integer("size")
    amounts = [0, 0] * (x.dim() - 2) + [(size - 1) // 2, size // 2]
    total = F.pad(x.square(), amounts).unfold(1, size, 1).sum(-1)
    scale = call.number("bias", 1.0) + call.number("alpha", 1e-4) / size * total
    return x / scale.pow(call.number("beta", 0.75))


@operator("LpNormalization")
def _lp_normalization(call: OperatorCall, x: Tensor) -> Tensor:
    """x / (Σ |x|^p)^(1/p); where the sum is 0, the result is 0."""
    norm = torch.linalg.vector_norm(x, call.integer("p", 2), call.integer("axis", -1), keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)

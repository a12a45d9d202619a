"""The steps inside functions that torch computes in one call and exporters take apart.

FORMULAS take the function's arguments and yield the steps with their names, in every order of operations that
exporters write: a tensor of a file only has to be among them. UNBIASED take the result as well, and yield what it
was before the bias was added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

Steps = Iterator[tuple[str, torch.Tensor]]


def _gelu(x: torch.Tensor, approximate: str = "none") -> Steps:
    """Yield those of x · (1 + erf(x/√2)) / 2, or with tanh(√(2/π)·(x + 0.044715·x³))."""
    if approximate == "tanh":
        cubed = x * x * x
        inner = x + 0.044715 * cubed
        yield from (("x²", x * x), ("x³", cubed), ("0.044715·x³", 0.044715 * cubed), ("inner", inner))
        gate, name = torch.tanh(math.sqrt(2 / math.pi) * inner), "tanh"
        yield "tanh's argument", math.sqrt(2 / math.pi) * inner
    else:
        yield "x/√2", x / math.sqrt(2)
        gate, name = torch.erf(x / math.sqrt(2)), "erf"
    yield name, gate
    yield f"1 + {name}", 1 + gate
    yield f"x·(1 + {name})", x * (1 + gate)
    yield f"(1 + {name})/2", (1 + gate) / 2
    yield "x/2", x / 2


def _silu(x: torch.Tensor, inplace: bool = False) -> Steps:
    """Yield those of x · sigmoid(x)."""
    yield "sigmoid", torch.sigmoid(x)


def _hardswish(x: torch.Tensor, inplace: bool = False) -> Steps:
    """Yield those of x · clip(x + 3, 0, 6) / 6."""
    clipped = torch.clamp(x + 3, 0, 6)
    yield from (("x + 3", x + 3), ("clip", clipped), ("clip/6", clipped / 6), ("x·clip", x * clipped))


def _softmax(x: torch.Tensor, dim: int | None = None, *rest: Any, **options: Any) -> Steps:
    yield "logarithm", torch.log_softmax(x, -1 if dim is None else dim)


def _layer_norm(
    x: torch.Tensor,
    normalized_shape: Any,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *rest: Any,
) -> Steps:
    """Yield those of (x − mean) / sqrt(var + eps) · weight + bias."""
    axes = tuple(range(-len(normalized_shape), 0))
    yield from _normalisation(x, axes, eps, weight)


def _normalisation(x: torch.Tensor, axes: tuple[int, ...], eps: float, weight: torch.Tensor | None) -> Steps:
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    variance = (centred * centred).mean(axes, keepdim=True)
    root = torch.sqrt(variance + eps)
    yield from (("mean", mean), ("x − mean", centred), ("(x − mean)²", centred * centred), ("variance", variance))
    yield from (
        ("variance + eps", variance + eps),
        ("root", root),
        ("normalised", centred / root),
        ("1/root", 1 / root),
    )
    if weight is not None and weight.ndim == len(axes):
        yield "normalised · weight", centred / root * weight


def _group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *rest: Any,
) -> Steps:
    """Yield those of a layer that is reshaped to [batch, groups, elements], normalised, reshaped back, and scaled."""
    grouped = x.reshape(x.shape[0], num_groups, -1)
    yield "grouped", grouped
    yield from _normalisation(grouped, (-1,), eps, None)
    if weight is not None:
        mean = grouped.mean(-1, keepdim=True)
        variance = grouped.var(-1, unbiased=False, keepdim=True)
        normalised = ((grouped - mean) / torch.sqrt(variance + eps)).reshape(x.shape)
        shape = (1, -1, *([1] * (x.ndim - 2)))
        yield "normalised, in shape", normalised
        yield "normalised · weight", normalised * weight.reshape(shape)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **options: Any,
) -> Steps:
    """Yield those of softmax(q · kᵀ · scale + mask) · v.

    scale multiplies q or k, both as its square root, or the product."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    transposed = key.transpose(-2, -1)
    yield "kᵀ", transposed
    for name, part in (("q", query), ("k", key), ("kᵀ", transposed)):
        yield f"{name} · scale", part * factor
        yield f"{name} · √scale", part * math.sqrt(factor)
    scores = query @ transposed
    yield from (("q·kᵀ", scores), ("q·kᵀ · scale", scores * factor))
    scores = scores * factor
    if attn_mask is not None and attn_mask.is_floating_point():
        scores = scores + attn_mask
        yield "masked", scores
    yield "softmax", torch.softmax(scores, -1)


def _linear(result: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Steps:
    """Yield the MatMul in front of the Add."""
    if bias is not None:
        yield "before the bias", result - bias


def _convolution(
    result: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *rest: Any,
    **options: Any,
) -> Steps:
    """Yield the same as for a linear layer where the result is a single pixel: such a convolution may be a MatMul."""
    if bias is not None and result.shape[2:] == (1, 1):
        yield "before the bias", result - bias.reshape(-1, 1, 1)


def _batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Steps:
    """Yield those of training mode on [1, filters, fan-in], which is timm's weight standardisation.

    gain · scale may be multiplied in before or after."""
    if not training or x.ndim != 3 or x.shape[0] != 1:
        return
    yield from _normalisation(x, (0, 2), eps, None)
    yield from _normalisation(x[0], (1,), eps, None)
    if weight is not None:
        yield "gain · scale", weight


FORMULAS: dict[str, Callable[..., Steps]] = {
    "batch_norm": _batch_norm,
    "gelu": _gelu,
    "group_norm": _group_norm,
    "hardswish": _hardswish,
    "layer_norm": _layer_norm,
    "scaled_dot_product_attention": _attention,
    "silu": _silu,
    "softmax": _softmax,
}
ON_WEIGHTS = frozenset({"batch_norm"})
"""Formulas of weight standardisation, which only files that compute their weights take apart."""

UNBIASED: dict[str, Callable[..., Steps]] = {"conv2d": _convolution, "linear": _linear}

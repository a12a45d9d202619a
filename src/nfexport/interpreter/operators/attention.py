"""Attention and rotary embeddings, as ONNX defines them from opset 23 on."""

from __future__ import annotations

import math
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch


def _heads(x: Tensor, count: int) -> Tensor:
    """Return [batch, time, heads · size] as [batch, heads, time, size]."""
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2) if x.dim() == 3 else x


@operator("Attention", since=23)
def _attention(
    call: OperatorCall,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Any:
    """softmax(scale · Q Kᵀ + mask) V. The outputs are Y, the keys and the values with those of the past in front, and
    the scores at the step that qk_matmul_output_mode names."""
    flat = q.dim() == 3
    q = _heads(q, call.integer("q_num_heads"))
    k, v = (_heads(x, call.integer("kv_num_heads")) for x in (k, v))
    past = 0 if past_key is None else past_key.shape[2]
    k = k if past_key is None else torch.cat([past_key, k], 2)
    v = v if past_value is None else torch.cat([past_value, v], 2)
    keys, values = k, v
    if (repeat := q.shape[1] // k.shape[1]) > 1:
        k, v = (x.repeat_interleave(repeat, 1) for x in (k, v))
    scale = call.number("scale") if call.has("scale") else 1 / math.sqrt(q.shape[-1])
    root = math.sqrt(scale)
    scores = torch.matmul(q * root, (k * root).transpose(-1, -2))
    bias = _bias(call, scores, mask, lengths, past)
    cap = call.number("softcap")
    capped = cap * torch.tanh(scores / cap) if cap else scores
    masked = capped if bias is None else capped + bias
    # a row that sees nothing gives 0, not NaN
    weights = torch.softmax(masked, -1).nan_to_num(0.0) if bias is not None else torch.softmax(masked, -1)
    step = (scores, capped, masked, weights)[call.integer("qk_matmul_output_mode")]
    y = torch.matmul(weights, v)
    return y.transpose(1, 2).flatten(2) if flat else y, keys, values, step


def _bias(
    call: OperatorCall, scores: Tensor, mask: Tensor | None, lengths: Tensor | None, past: int
) -> Tensor | None:
    """Return what is added to the scores: −∞ where a key is not seen."""
    rows, columns = scores.shape[-2:]
    total: Tensor | None = None
    if mask is not None:
        if mask.dtype is torch.bool:
            mask = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, -math.inf)
        if mask.shape[-1] < columns:
            mask = F.pad(mask, [0, columns - mask.shape[-1]], value=-math.inf)
        total = mask
    hidden = torch.zeros((1, 1, rows, columns), dtype=torch.bool)
    steps = torch.arange(columns)
    offset = torch.full((1, 1, 1, 1), past)
    if lengths is not None:
        hidden = hidden | (steps >= lengths.reshape(-1, 1, 1, 1))
        offset = lengths.reshape(-1, 1, 1, 1) - rows if not past else offset
    ahead = steps - torch.arange(rows).reshape(-1, 1) - offset  # of the query's own position
    left, right = call.integer("left_window_size", -1), call.integer("right_window_size", -1)
    if call.integer("is_causal"):
        hidden = hidden | (ahead > 0)
    if left >= 0:
        hidden = hidden | (ahead < -left)
    if right >= 0:
        hidden = hidden | (ahead > right)
    if not bool(hidden.any()):
        return total
    covered = torch.zeros(hidden.shape, dtype=scores.dtype).masked_fill(hidden, -math.inf)
    return covered if total is None else total + covered


@operator("RotaryEmbedding", since=23)
def _rotary_embedding(
    call: OperatorCall, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None
) -> Tensor:
    """Rotate pairs of features by the angle of their position: the two halves, or neighbours if interleaved."""
    flat, shape = x.dim() == 3, x.shape
    y = x.reshape(shape[0], shape[1], call.integer("num_heads"), -1) if flat else x.transpose(1, 2)
    size = call.integer("rotary_embedding_dim") or y.shape[-1]
    turned, rest = y[..., :size], y[..., size:]
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    cos, sin = cos[..., : size // 2].unsqueeze(2), sin[..., : size // 2].unsqueeze(2)
    interleaved = bool(call.integer("interleaved"))
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    turned = torch.stack([real, imaginary], -1).flatten(-2) if interleaved else torch.cat([real, imaginary], -1)
    y = torch.cat([turned, rest], -1)
    return y.reshape(shape) if flat else y.transpose(1, 2)

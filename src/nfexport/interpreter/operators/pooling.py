"""Poolings."""

from __future__ import annotations

import math
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch
from nfexport.interpreter.windows import Windows, windows


def _windows(call: OperatorCall, x: Tensor) -> Windows:
    return windows(call, x.shape[2:], call.integers("kernel_shape") or [])


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


def _inner(x: Tensor) -> list[int]:
    """Return the axes of the kernel of windows that slide over x."""
    return list(range(x.dim(), 2 * x.dim() - 2))


@operator("MaxPool")
def _max_pool(call: OperatorCall, x: Tensor) -> Any:
    """The second output is the position of each largest element in the whole tensor, flattened."""
    found = _windows(call, x)
    simple = found.is_symmetric and all(2 * p <= k for p, k in zip(found.before, found.kernel, strict=True))
    if not call.wants(1) and simple and x.is_floating_point():
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(found.kernel) - 1]
        return pool(x, found.kernel, found.strides, found.before, found.dilations)
    lowest = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    slid = found.slide(_padded(found, x, lowest))
    if not call.wants(1):
        return slid.amax(_inner(x))
    flat = slid.flatten(x.dim())
    largest = flat.max(-1, keepdim=True)
    places = found.slide(found.pad(_places(x, call.integer("storage_order")), -1)).flatten(x.dim())
    return largest.values.squeeze(-1), places.gather(-1, largest.indices).squeeze(-1)


def _padded(found: Windows, x: Tensor, value: float) -> Tensor:
    # torch pads bytes with 0 only where they are given as such
    return found.pad(x, value) if x.is_floating_point() else found.pad(x.to(torch.int64), value).to(x.dtype)


def _places(x: Tensor, column_major: int) -> Tensor:
    """Return the index of each element in the flattened tensor; column_major counts the spatial axes in reverse."""
    size = x.shape[2:]
    order = torch.arange(math.prod(size), dtype=torch.int64)
    order = (
        order.reshape(*reversed(size)).permute(*reversed(range(len(size)))) if column_major else order.reshape(size)
    )
    first = torch.arange(x.shape[0] * x.shape[1], dtype=torch.int64) * math.prod(size)
    return first.reshape(*x.shape[:2], *[1] * len(size)) + order


@operator("AveragePool", since=7)
def _average_pool(call: OperatorCall, x: Tensor) -> Tensor:
    """The mean over the elements of each window: those of the image alone, or with count_include_pad those of the
    padding too, but never those that ceil_mode adds."""
    found, include = _windows(call, x), bool(call.integer("count_include_pad"))
    simple = found.is_symmetric and all(2 * p <= k for p, k in zip(found.before, found.kernel, strict=True))
    if simple and set(found.dilations) == {1}:
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(found.kernel) - 1]
        return pool(x, found.kernel, found.strides, found.before, False, include)
    total = found.slide(found.pad(x, 0.0)).sum(_inner(x))
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    counted = found.pad_ceil(found.pad(ones, 1.0 if include else 0.0, ceil=False))
    return total / found.slide(counted).sum(_inner(x))


@operator("LpPool", since=2)
def _lp_pool(call: OperatorCall, x: Tensor) -> Tensor:
    """(Σ |x|^p)^(1/p) over each window."""
    found, p = _windows(call, x), call.integer("p", 2)
    return found.slide(found.pad(x, 0.0)).abs().pow(p).sum(_inner(x)).pow(1 / p)


@operator("GlobalAveragePool")
def _global_average_pool(call: OperatorCall, x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1) if x.dim() == 4 else x.mean(_spatial(x), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(call: OperatorCall, x: Tensor) -> Tensor:
    return x.amax(_spatial(x), keepdim=True)


@operator("GlobalLpPool", since=2)
def _global_lp_pool(call: OperatorCall, x: Tensor) -> Tensor:
    p = call.integer("p", 2)
    return x.abs().pow(p).sum(_spatial(x), keepdim=True).pow(1 / p)


@operator("MaxUnpool", since=9)
def _max_unpool(call: OperatorCall, x: Tensor, places: Tensor, shape: Tensor | None = None) -> Tensor:
    """Put each element back where MaxPool found it, among zeros; the places count in the tensor that was pooled."""
    kernel = call.integers("kernel_shape") or []
    strides, pads = call.integers("strides") or [1] * len(kernel), call.integers("pads") or [0] * 2 * len(kernel)
    size = [
        (n - 1) * s + k - pads[i] - pads[i + len(kernel)]
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    own = [*x.shape[:2], *size]
    flat = torch.zeros(math.prod(own), dtype=x.dtype).scatter(0, places.reshape(-1), x.reshape(-1)).reshape(own)
    if shape is None or ints(shape) == own:
        return flat
    wanted = ints(shape)
    amounts = [n for have, want in zip(reversed(own), reversed(wanted), strict=True) for n in (0, want - have)]
    return F.pad(flat, amounts)

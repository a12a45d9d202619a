"""Add up long sums one by one in float32, as runtimes do.

PyTorch adds in pairs, and its own float32 run does not show what a plain loop costs: over the 96 × 144 pixels of a
flat image ONNX Runtime's ReduceMean and GlobalAveragePool are 143 and 220 units in the last place off, PyTorch is
within one; over noise they are 3 and 5 off. So the loop is run, and its error measured, rather than modelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

SUMS = frozenset({"mean", "sum", "adaptive_avg_pool2d"})
"""Functions whose result is a sum of many elements."""

LONG = 1024
"""Elements from which on a sum counts as long: below, a loop is off by a few units on any image."""


def long_sum(func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> Any:
    """Return the result of a function of float32, or the same added up one by one if it is a long sum."""
    name = getattr(func, "__name__", "").partition(".")[0]
    tensor = args[0] if args else kwargs.get("input")
    if name not in SUMS or not isinstance(tensor, torch.Tensor) or not isinstance(result, torch.Tensor):
        return result
    if tensor.dtype is not torch.float32 or result.dtype is not torch.float32 or not result.numel():
        return result
    length = tensor.numel() // result.numel()
    dims = _dims(name, tensor, args, kwargs)
    if length < LONG or dims is None:
        return result
    kept = [axis for axis in range(tensor.dim()) if axis not in dims]
    rows = tensor.detach().permute(*dims, *kept).reshape(length, -1).contiguous().numpy()
    # along the first axis numpy adds row by row, but a single column in pairs
    width = rows.shape[1]
    total = np.add.reduce(np.broadcast_to(rows, (length, 2)).copy() if width == 1 else rows, axis=0)[:width]
    if name != "sum":
        total = total / np.float32(length)
    return torch.from_numpy(np.asarray(total, np.float32)).reshape(result.shape)


def _dims(name: str, tensor: torch.Tensor, args: Any, kwargs: Mapping[str, Any]) -> list[int] | None:
    """Return the axes that a function sums over; None if they are not known."""
    if name == "adaptive_avg_pool2d":
        size = args[1] if len(args) > 1 else kwargs.get("output_size")
        return [tensor.dim() - 2, tensor.dim() - 1] if size in (1, (1, 1), [1, 1]) else None
    dims = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
    if dims is None or dims == () or dims == []:
        return list(range(tensor.dim()))
    given = [dims] if isinstance(dims, int) else list(dims)
    return [axis % tensor.dim() for axis in given] if all(isinstance(axis, int) for axis in given) else None

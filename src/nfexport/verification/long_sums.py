"""Add up long sums one by one in float32, as runtimes do.

PyTorch adds in pairs, and its own float32 run does not show what a plain loop costs: over the 96 × 144 pixels of a
flat image ONNX Runtime's ReduceMean and GlobalAveragePool are 143 and 220 units in the last place off, PyTorch is
within one; over noise they are 3 and 5 off. So the loop is run, and its error measured, rather than modelled. The
statistics of a normalisation over a large group are such sums too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SUMS = frozenset({"mean", "sum", "adaptive_avg_pool2d"})
"""Functions whose result is a sum of many elements."""

NORMALISATIONS = frozenset({"group_norm", "layer_norm", "instance_norm"})
"""Functions that subtract the mean of many elements and divide by the root of their variance."""

LANES = 8
"""float32 numbers of a vector register of 256 bits."""

LONG = 1024
"""Elements from which on a sum counts as long: below, a loop is off by a few units on any image."""


def long_sum(func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> Any:
    """Return the result of a function of float32, or the same added up one by one if it is a long sum."""
    name = getattr(func, "__name__", "").partition(".")[0]
    tensor = args[0] if args else kwargs.get("input")
    if name in NORMALISATIONS:
        return _normalised(name, args, kwargs, result)
    if name not in SUMS or not isinstance(tensor, torch.Tensor) or not isinstance(result, torch.Tensor):
        return result
    if tensor.dtype is not torch.float32 or result.dtype is not torch.float32 or not result.numel():
        return result
    length = tensor.numel() // result.numel()
    dims = _dims(name, tensor, args, kwargs)
    if length < LONG or dims is None:
        return result
    kept = [axis for axis in range(tensor.dim()) if axis not in dims]
    total = _added(tensor.detach().permute(*dims, *kept).reshape(length, -1).contiguous().numpy())
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


def _added(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over the first axis of [length, columns], added up row by row."""
    # a single column would be added in pairs
    width = rows.shape[1]
    total = np.add.reduce(np.broadcast_to(rows, (len(rows), 2)).copy() if width == 1 else rows, axis=0)[:width]
    return np.asarray(total, np.float32)


def _added_in_lanes(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over the first axis of [length, columns], added up in lanes, as the vector instructions of a
    runtime do for the elements that lie next to one another."""
    length, width = columns.shape
    whole = length // LANES * LANES
    lanes = _added(columns[:whole].reshape(whole // LANES, LANES * width)).reshape(LANES, width)
    return _added(np.concatenate([lanes, columns[whole:]]))


PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
}
"""The parameters of the normalisations, in order; those behind them do not change the result."""


def _normalised(name: str, args: Any, kwargs: Mapping[str, Any], result: Any) -> Any:
    """Return the result of a normalisation, or (x − mean) / √(variance + eps) · weight + bias with both sums added up
    in lanes if its groups are long."""
    given = {**dict(zip(PARAMETERS[name], args, strict=False)), **kwargs}
    tensor = given["input"]
    if tensor.dtype is not torch.float32 or result.dtype is not torch.float32 or tensor.dim() < 2:
        return result
    if name == "layer_norm":
        length = math.prod(given["normalized_shape"])
    elif name == "group_norm":
        length = tensor[0].numel() // given["num_groups"]
    else:
        length = tensor[0, 0].numel() if given.get("use_input_stats", True) else 0
    if length < LONG:
        return result
    columns = tensor.detach().reshape(-1, length).T.contiguous().numpy()
    centred = columns - _added_in_lanes(columns) / np.float32(length)
    variance = _added_in_lanes(np.square(centred)) / np.float32(length)
    scaled = centred / np.sqrt(variance + np.float32(given.get("eps", 1e-5)))
    found = torch.from_numpy(np.ascontiguousarray(scaled.T)).reshape(tensor.shape)
    for parameter, combine in (("weight", torch.mul), ("bias", torch.add)):
        if (value := given.get(parameter)) is not None:
            axes = tensor.shape[1:2] + (1,) * (tensor.dim() - 2) if name != "layer_norm" else value.shape
            found = combine(found, value.detach().reshape(axes))
    return found

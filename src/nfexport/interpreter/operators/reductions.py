"""Sums, means and extremes over axes."""

from __future__ import annotations

import math
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch


def _sum(x: Tensor, axes: list[int]) -> Tensor:
    return x.sum(axes, keepdim=True, dtype=None if x.is_floating_point() else x.dtype)


def _mean(x: Tensor, axes: list[int]) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=True)
    return torch.div(x.sum(axes, keepdim=True), math.prod(x.shape[a] for a in axes), rounding_mode="trunc").to(
        x.dtype
    )


def _product(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True, dtype=x.dtype)
    return x


def _largest(x: Tensor, axes: list[int]) -> Tensor:
    if all(x.shape[axis] for axis in axes):
        return x.amax(axes, keepdim=True)
    return _of_nothing(x, axes, -math.inf)


def _smallest(x: Tensor, axes: list[int]) -> Tensor:
    if all(x.shape[axis] for axis in axes):
        return x.amin(axes, keepdim=True)
    return _of_nothing(x, axes, math.inf)


def _of_nothing(x: Tensor, axes: list[int], value: float) -> Tensor:
    """Return the extreme over no element: infinity, or the end of the range of a whole number."""
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    if not x.is_floating_point():
        limits = torch.iinfo(x.dtype)
        return torch.full(shape, limits.max if value > 0 else limits.min, dtype=x.dtype)
    return torch.full(shape, value, dtype=x.dtype)


def _log_sum_exp(x: Tensor, axes: list[int]) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=True)


_FUNCTIONS = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": _product,
    "ReduceMax": _largest,
    "ReduceMin": _smallest,
    "ReduceL1": lambda x, axes: _sum(x.abs(), axes),
    "ReduceL2": lambda x, axes: torch.sqrt(_sum(x * x, axes)).to(x.dtype),
    "ReduceSumSquare": lambda x, axes: _sum(x * x, axes),
    "ReduceLogSum": lambda x, axes: torch.log(_sum(x, axes)),
    "ReduceLogSumExp": _log_sum_exp,
}


@operator(*_FUNCTIONS)
def _reduce(call: OperatorCall, x: Tensor, axes: Tensor | None = None) -> Any:
    """axes are an attribute, or from opset 13 (sum) and 18 on an input; none at all are all axes."""
    given = call.integers("axes") if axes is None else ints(axes)
    function = _FUNCTIONS[call.node.op_type]
    if not given and call.integer("noop_with_empty_axes"):
        # the function of the single element, without the reduction
        return function(x.unsqueeze(-1), [x.dim()]).squeeze(-1)
    dims = sorted({axis % x.dim() for axis in given}) if given else list(range(x.dim()))
    if not x.dim():
        return function(x.reshape(1), [0]).reshape(())
    result = function(x, dims)
    return (
        result if call.integer("keepdims", 1) else result.reshape([n for a, n in enumerate(x.shape) if a not in dims])
    )


@operator("ArgMax", "ArgMin")
def _arg(call: OperatorCall, x: Tensor) -> Tensor:
    """The first position of the extreme; the last with select_last_index."""
    axis, keep = call.integer("axis") % x.dim(), bool(call.integer("keepdims", 1))
    last = bool(call.integer("select_last_index"))
    best = (torch.max if call.node.op_type == "ArgMax" else torch.min)(
        x.flip(axis) if last else x, axis, keepdim=keep
    )
    return x.shape[axis] - 1 - best.indices if last else best.indices

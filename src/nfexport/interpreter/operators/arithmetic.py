"""Operators of numbers, element by element, with numpy's broadcasting."""

from __future__ import annotations

import functools
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch

_UNARY = {
    **{name: name.lower() for name in ("Abs", "Ceil", "Erf", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Round")},
    **{name: name.lower() for name in ("Sign", "Sqrt", "Sigmoid", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh")},
    **{name: name.lower() for name in ("Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh")},
}
"""Operators that are a function of torch; Round goes to the nearest even number in both."""


def _unary(function: str) -> Any:
    return lambda call, x: getattr(torch, function)(x)


for _name, _function in _UNARY.items():
    operator(_name)(_unary(_function))


@operator("Add", "Sub", "Mul", since=7)
def _add_sub_mul(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    name = call.node.op_type
    return torch.add(a, b) if name == "Add" else torch.sub(a, b) if name == "Sub" else torch.mul(a, b)


@operator("Div", since=7)
def _div(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    """Whole numbers are divided towards zero."""
    return torch.div(a, b) if a.is_floating_point() or a.is_complex() else torch.div(a, b, rounding_mode="trunc")


@operator("Mod", since=10)
def _mod(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    """The sign is that of the divisor, with fmod that of the dividend."""
    return torch.fmod(a, b) if call.integer("fmod") else torch.remainder(a, b)


@operator("Pow", since=7)
def _pow(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


@operator("Max", "Min", since=8)
def _max_min(call: OperatorCall, *given: Tensor) -> Tensor:
    """NaN in any of the inputs gives NaN."""
    return functools.reduce(torch.maximum if call.node.op_type == "Max" else torch.minimum, given)


@operator("Sum", since=8)
def _sum(call: OperatorCall, *given: Tensor) -> Tensor:
    return functools.reduce(torch.add, given)


@operator("Mean", since=8)
def _mean(call: OperatorCall, *given: Tensor) -> Tensor:
    return functools.reduce(torch.add, given) / len(given)


@operator("Clip", since=6)
def _clip_by_attributes(call: OperatorCall, x: Tensor) -> Tensor:
    low = call.number("min") if call.has("min") else None
    high = call.number("max") if call.has("max") else None
    return x if low is None and high is None else torch.clamp(x, low, high)


@operator("Clip", since=11)
def _clip(call: OperatorCall, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Where low is above high, the result is high."""
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


@operator("CumSum", "CumProd", since=11)
def _cumulate(call: OperatorCall, x: Tensor, axis: Tensor) -> Tensor:
    """exclusive leaves each element out of its own sum; reverse starts at the end."""
    (dim,) = ints(axis)
    x = x.flip(dim) if call.integer("reverse") else x
    product = call.node.op_type == "CumProd"
    total = (torch.cumprod if product else torch.cumsum)(x, dim, dtype=x.dtype)
    if call.integer("exclusive"):
        first = torch.full_like(total.narrow(dim, 0, 1), 1 if product else 0)
        total = torch.cat([first, total.narrow(dim, 0, total.shape[dim] - 1)], dim)
    return total.flip(dim) if call.integer("reverse") else total


@operator("BitShift", since=11)
def _bit_shift(call: OperatorCall, x: Tensor, by: Tensor) -> Tensor:
    shift = torch.bitwise_left_shift if call.text("direction") == "LEFT" else torch.bitwise_right_shift
    return shift(x, by)


@operator("BitwiseAnd", "BitwiseOr", "BitwiseXor", since=18)
def _bitwise(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    name = call.node.op_type
    return {"BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or}.get(name, torch.bitwise_xor)(a, b)


@operator("BitwiseNot", since=18)
def _bitwise_not(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.bitwise_not(x)

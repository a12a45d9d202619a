"""Operators that compare, and those of truth values."""

from __future__ import annotations

from typing import Any

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch

_BINARY = {
    "Equal": "eq",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "And": "logical_and",
    "Or": "logical_or",
    "Xor": "logical_xor",
}


def _binary(function: str) -> Any:
    return lambda call, a, b: getattr(torch, function)(a, b)


for _name, _function in _BINARY.items():
    operator(_name, since=7)(_binary(_function))


@operator("Not")
def _not(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.logical_not(x)


@operator("IsNaN", since=9)
def _is_nan(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.isnan(x)


@operator("IsInf", since=10)
def _is_inf(call: OperatorCall, x: Tensor) -> Tensor:
    positive, negative = call.integer("detect_positive", 1), call.integer("detect_negative", 1)
    return (torch.isposinf(x) & bool(positive)) | (torch.isneginf(x) & bool(negative))


@operator("Where", since=9)
def _where(call: OperatorCall, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)

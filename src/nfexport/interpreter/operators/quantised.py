"""Quantisation, and operators of whole numbers: real steps of a file, in float64 too."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall, torch_dtype
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.operators.convolution import convolve
from nfexport.interpreter.torch_library import Tensor, torch


def _along(call: OperatorCall, parameter: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return a scale or zero point in a shape that broadcasts with x: one number, one an entry of the axis, or one a
    block of it."""
    if parameter.dim() == 0 or (parameter.numel() == 1 and parameter.dim() <= 1):
        return parameter.reshape(())
    axis = axis % x.dim()
    if parameter.dim() == 1:
        return parameter.reshape(-1, *[1] * (x.dim() - axis - 1))
    return parameter.repeat_interleave(call.integer("block_size"), axis).narrow(axis, 0, x.shape[axis])


def _rounded(call: OperatorCall, x: Tensor, scale: Tensor, zero: Tensor, dtype: torch.dtype) -> Tensor:
    """round(x / scale) + zero point to the nearest even number, held within the type's range."""
    limits = torch.iinfo(dtype)
    return (torch.round(x / scale) + zero).clamp(limits.min, limits.max).to(dtype)


@operator("QuantizeLinear", since=10)
def _quantize(call: OperatorCall, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    number = call.integer("output_dtype") or 2  # UINT8
    dtype = torch_dtype(call, number) if zero is None else zero.dtype
    axis = call.integer("axis", 1)
    points = torch.zeros((), dtype=torch.int32) if zero is None else _along(call, zero, x, axis)
    steps = _along(call, scale, x, axis)
    if dtype.is_floating_point:
        return (x / steps).to(dtype)
    return _rounded(call, x, steps, points.to(torch.int32), dtype)


@operator("DequantizeLinear", since=10)
def _dequantize(call: OperatorCall, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """(x − zero point) · scale."""
    axis = call.integer("axis", 1)
    steps = _along(call, scale, x, axis)
    if x.dtype.is_floating_point:
        return x.to(scale.dtype) * steps
    whole = x.to(torch.int32) if zero is None else x.to(torch.int32) - _along(call, zero, x, axis).to(torch.int32)
    return whole.to(scale.dtype) * steps


@operator("DynamicQuantizeLinear", since=11)
def _dynamic_quantize(call: OperatorCall, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To uint8, by the range of x with 0 in it."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(-low / scale).clamp(0, 255).nan_to_num(0).to(torch.uint8)
    return _rounded(call, x, scale, zero.to(torch.int32), torch.uint8), scale, zero


def _without_zero(x: Tensor, zero: Tensor | None, rows: bool = False) -> Tensor:
    """Return x − zero point as int32; one zero point a row, or a column."""
    if zero is None:
        return x.to(torch.int32)
    point = zero.to(torch.int32)
    return x.to(torch.int32) - (point.unsqueeze(-1) if rows and point.dim() and point.shape[-1] != 1 else point)


@operator("MatMulInteger", since=10)
def _matmul_integer(
    call: OperatorCall, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return torch.matmul(_without_zero(a, a_zero, rows=True), _without_zero(b, b_zero))


@operator("QLinearMatMul", since=10)
def _qlinear_matmul(
    call: OperatorCall,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    whole = torch.matmul(_without_zero(a, a_zero, rows=True), _without_zero(b, b_zero))
    real = whole.to(a_scale.dtype) * a_scale * b_scale
    return _rounded(call, real, y_scale, y_zero.to(torch.int32), y_zero.dtype)


@operator("ConvInteger", since=10)
def _conv_integer(
    call: OperatorCall, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    return _exact_conv(call, x, weight, x_zero, w_zero).to(torch.int32)


def _exact_conv(
    call: OperatorCall, x: Tensor, weight: Tensor, x_zero: Tensor | None, w_zero: Tensor | None
) -> Tensor:
    """Convolve whole numbers in float64, where their sums are exact."""
    points = None if w_zero is None else w_zero.reshape(-1, *[1] * (weight.dim() - 1)) if w_zero.dim() else w_zero
    y: Tensor = convolve(call, _without_zero(x, x_zero).double(), _without_zero(weight, points).double())
    return y


@operator("QLinearConv", since=10)
def _qlinear_conv(call: OperatorCall, *given: Tensor) -> Tensor:
    """Inputs: x, its scale and zero point, the weight with its own, those of y, and a bias in both scales' units."""
    x, x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero, *rest = given
    y = _exact_conv(call, x, weight, x_zero, w_zero)
    channels = (-1, *[1] * (weight.dim() - 2))
    y = y + rest[0].double().reshape(channels) if rest and rest[0] is not None else y
    scale = (x_scale.double() * w_scale.double()).reshape(channels if w_scale.numel() > 1 else ())
    return _rounded(call, y * scale, y_scale.double(), y_zero.to(torch.int32), y_zero.dtype)

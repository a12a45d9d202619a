"""Activations: functions of one number, and the softmaxes. Parameters default to what the schemas say."""

from __future__ import annotations

import math

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import MICROSOFT, operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("Relu")
def _relu(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.relu(x)


@operator("LeakyRelu")
def _leaky_relu(call: OperatorCall, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.number("alpha", 0.01))


@operator("PRelu", since=7)
def _prelu(call: OperatorCall, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


@operator("ThresholdedRelu", since=10)
def _thresholded_relu(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.where(x > call.number("alpha", 1.0), x, torch.zeros_like(x))


@operator("Elu")
def _elu(call: OperatorCall, x: Tensor) -> Tensor:
    """alpha · (exp(x) − 1) below 0."""
    return torch.where(x < 0, call.number("alpha", 1.0) * torch.expm1(x), x)


@operator("Celu", since=12)
def _celu(call: OperatorCall, x: Tensor) -> Tensor:
    """max(0, x) + min(0, alpha · (exp(x / alpha) − 1))."""
    alpha = call.number("alpha", 1.0)
    return torch.where(x < 0, alpha * torch.expm1(x / alpha), x)


@operator("Selu")
def _selu(call: OperatorCall, x: Tensor) -> Tensor:
    """gamma · x above 0, gamma · alpha · (exp(x) − 1) below."""
    alpha = call.number("alpha", 1.67326319217681884765625)
    return call.number("gamma", 1.05070102214813232421875) * torch.where(x > 0, x, alpha * torch.expm1(x))


@operator("HardSigmoid")
def _hard_sigmoid(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.clamp(call.number("alpha", 0.2) * x + call.number("beta", 0.5), 0, 1)


@operator("HardSwish", since=14)
def _hard_swish(call: OperatorCall, x: Tensor) -> Tensor:
    return F.hardswish(x)


@operator("Softplus")
def _softplus(call: OperatorCall, x: Tensor) -> Tensor:
    """log(1 + exp(x)), without the straight line that torch's own has above a threshold."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operator("Softsign")
def _softsign(call: OperatorCall, x: Tensor) -> Tensor:
    return x / (1 + x.abs())


@operator("Mish", since=18)
def _mish(call: OperatorCall, x: Tensor) -> Tensor:
    return x * torch.tanh(_softplus(call, x))


@operator("Swish", since=24)
def _swish(call: OperatorCall, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.number("alpha", 1.0) * x)


@operator("QuickGelu", domain=MICROSOFT)
def _quick_gelu(call: OperatorCall, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.number("alpha", 1.702) * x)


@operator("Shrink", since=9)
def _shrink(call: OperatorCall, x: Tensor) -> Tensor:
    bound, bias = call.number("lambd", 0.5), call.number("bias")
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))


@operator("Gelu", since=20)
def _gelu(call: OperatorCall, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.text("approximate", "none"))


@operator("Gelu", domain=MICROSOFT)
def _gelu_by_erf(call: OperatorCall, x: Tensor) -> Tensor:
    return F.gelu(x)


@operator("BiasGelu", domain=MICROSOFT)
def _bias_gelu(call: OperatorCall, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


@operator("FastGelu", domain=MICROSOFT)
def _fast_gelu(call: OperatorCall, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


def _flat(call: OperatorCall, x: Tensor) -> Tensor:
    """Return x as the matrix that these operators work on up to opset 12: the axes from `axis` on are its rows."""
    axis = call.integer("axis", 1) % (x.dim() + 1) if x.dim() else 0
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Softmax")
def _softmax_of_rows(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.softmax(_flat(call, x), 1).reshape(x.shape)


@operator("Softmax", since=13)
def _softmax(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.softmax(x, call.integer("axis", -1))


@operator("LogSoftmax")
def _log_softmax_of_rows(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.log_softmax(_flat(call, x), 1).reshape(x.shape)


@operator("LogSoftmax", since=13)
def _log_softmax(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.log_softmax(x, call.integer("axis", -1))


@operator("Hardmax")
def _hardmax_of_rows(call: OperatorCall, x: Tensor) -> Tensor:
    return _one_of(_flat(call, x), 1).reshape(x.shape)


@operator("Hardmax", since=13)
def _hardmax(call: OperatorCall, x: Tensor) -> Tensor:
    return _one_of(x, call.integer("axis", -1))


def _one_of(x: Tensor, dim: int) -> Tensor:
    """Return 1 at the first largest element along an axis, and 0 elsewhere."""
    first = torch.max(x, dim, keepdim=True).indices
    return torch.zeros_like(x).scatter(dim, first, torch.ones_like(first, dtype=x.dtype))

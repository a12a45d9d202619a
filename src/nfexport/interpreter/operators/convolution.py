"""Convolutions of one, two and three dimensions."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import MICROSOFT, operator
from nfexport.interpreter.torch_library import F, Tensor, torch
from nfexport.interpreter.windows import pad_spatial, windows

_CONV = ("conv1d", "conv2d", "conv3d")


@operator("Conv")
def convolve(call: OperatorCall, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [N, C, …], weight [O, C/group, …]; padding that differs at the two ends is put around x first."""
    found = windows(call, x.shape[2:], weight.shape[2:])
    padding = found.before
    if not found.is_symmetric or min(padding, default=0) < 0:
        x, padding = found.pad(x, 0.0), (0,) * len(found.kernel)
    function = getattr(F, _CONV[len(found.kernel) - 1])
    result: Tensor = function(x, weight, bias, found.strides, padding, found.dilations, call.integer("group", 1))
    return result


@operator("FusedConv", domain=MICROSOFT)
def _fused_conv(
    call: OperatorCall, x: Tensor, weight: Tensor, bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    """A Conv, a tensor that is added to it, and an activation."""
    y = convolve(call, x, weight, bias)
    y = y if added is None else y + added
    kind, params = call.text("activation"), call.numbers("activation_params") or []
    if kind == "Clip":
        return torch.clamp(y, *params)
    if kind == "LeakyRelu":
        return F.leaky_relu(y, params[0])
    if kind == "HardSigmoid":
        return torch.clamp(params[0] * y + params[1], 0, 1)
    if kind not in ("", "Relu", "Sigmoid", "Tanh"):
        raise call.refuse(f"the activation {kind}")
    return {"Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh}[kind](y) if kind else y


@operator("ConvTranspose")
def _conv_transpose(call: OperatorCall, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The whole result is computed, then cropped: out = (n − 1) · stride + (k − 1) · dilation + 1 + output_padding −
    pads. With output_shape, or SAME padding (n · stride), the pads follow from the size."""
    count = weight.dim() - 2
    strides = call.integers("strides") or [1] * count
    dilations = call.integers("dilations") or [1] * count
    function = getattr(F, f"conv_transpose{count}d")
    y: Tensor = function(x, weight, None, strides, 0, 0, call.integer("group", 1), dilations)
    more = call.integers("output_padding") or [0] * count
    pads = call.integers("pads") or [0] * 2 * count
    auto, wanted = call.text("auto_pad", "NOTSET"), call.integers("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        total = [full + extra - out for full, extra, out in zip(y.shape[2:], more, wanted[-count:], strict=True)]
        halves = [max(t, 0) // 2 if t >= 0 else 0 for t in total]
        rest = [t - half for t, half in zip(total, halves, strict=True)]
        pads = halves + rest if auto != "SAME_LOWER" else rest + halves
    y = pad_spatial(y, [-p for p in pads[:count]], [m - p for m, p in zip(more, pads[count:], strict=True)])
    return y if bias is None else y + bias.reshape(-1, *[1] * count)

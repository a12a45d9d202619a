"""Fourier transforms. Complex numbers are pairs along a last axis."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch


@operator("DFT", since=17)
def _dft_by_attribute(call: OperatorCall, x: Tensor, length: Tensor | None = None) -> Tensor:
    return _transformed(call, x, length, call.integer("axis", 1))


@operator("DFT", since=20)
def _dft(call: OperatorCall, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    return _transformed(call, x, length, -2 if axis is None else int(axis))


def _transformed(call: OperatorCall, x: Tensor, length: Tensor | None, axis: int) -> Tensor:
    """x ends in one real number or a pair; length cuts or pads the axis first; onesided keeps half of the result, and
    in the inverse stands for what it left out."""
    axis, count = axis % x.dim(), None if length is None else int(length)
    inverse, half = call.integer("inverse"), call.integer("onesided")
    z = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x[..., 0]
    if inverse and half:
        return torch.unsqueeze(torch.fft.irfft(z, count, axis), -1)
    if inverse:
        return torch.view_as_real(torch.fft.ifft(z, count, axis))
    full = torch.fft.fft(z, count, axis)
    return torch.view_as_real(full.narrow(axis, 0, full.shape[axis] // 2 + 1) if half else full)


@operator("STFT", since=17)
def _stft(
    call: OperatorCall, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    """The transform of each frame of a signal [batch, length, 1 or 2], times a window."""
    z = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x.reshape(x.shape[0], -1)
    size = int(length) if length is not None else 0 if window is None else len(window)
    frames = z.unfold(1, size or z.shape[1], int(step))
    frames = frames if window is None else frames * window
    full = torch.fft.fft(frames, dim=-1)
    return torch.view_as_real(full[..., : full.shape[-1] // 2 + 1] if call.integer("onesided", 1) else full)

"""Pad, in all of its modes, for any number of axes."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("Pad", since=2)
def _pad_by_attributes(call: OperatorCall, x: Tensor) -> Tensor:
    value = torch.tensor(call.number("value"), dtype=x.dtype)
    return _padded(x, call.integers("pads") or [], list(range(x.dim())), call.text("mode", "constant"), value)


@operator("Pad", since=11)
def _pad(
    call: OperatorCall, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    dims = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in ints(axes)]
    return _padded(x, ints(pads), dims, call.text("mode", "constant"), value)


def _padded(x: Tensor, pads: list[int], dims: list[int], mode: str, value: Tensor | None) -> Tensor:
    """Negative amounts crop, before the other axes are looked at."""
    both = {axis: (pads[i], pads[i + len(dims)]) for i, axis in enumerate(dims)}
    if mode == "constant":
        amounts = [amount for axis in reversed(range(x.dim())) for amount in both.get(axis, (0, 0))]
        if x.dtype is torch.bool:
            return F.pad(x.to(torch.uint8), amounts, value=int(value or 0)).to(torch.bool)
        return F.pad(x, amounts, value=0 if value is None else value.item())
    for axis, (before, after) in both.items():
        x = x.index_select(axis, _places(x.shape[axis], before, after, mode))
    return x


def _places(size: int, before: int, after: int, mode: str) -> Tensor:
    """Return which element lies at each position of the padded axis."""
    places = torch.arange(-before, size + after)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places.remainder(size)
    if size == 1:  # reflect
        return torch.zeros_like(places)
    return size - 1 - (places.remainder(2 * size - 2) - (size - 1)).abs()

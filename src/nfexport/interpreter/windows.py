"""Windows that slide over an image: where convolutions and poolings start, and how much they pad."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.torch_library import F, Tensor


@dataclasses.dataclass(frozen=True)
class Windows:
    """For each spatial axis: the kernel, its stride and dilation, and the padding before and after.

    after_ceil is the padding that ceil_mode adds behind the other, so that the last window is whole."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    after_ceil: tuple[int, ...]

    @property
    def is_symmetric(self) -> bool:
        """Say whether both ends are padded alike, as torch's own functions do."""
        return self.before == self.after and not any(self.after_ceil)

    def pad(self, x: Tensor, value: float, *, ceil: bool = True) -> Tensor:
        """Return x with its spatial axes padded; without what ceil_mode adds if ceil is False."""
        extra = self.after_ceil if ceil else (0,) * len(self.kernel)
        return pad_spatial(x, self.before, [a + b for a, b in zip(self.after, extra, strict=True)], value)

    def pad_ceil(self, x: Tensor) -> Tensor:
        """Return x, padded already, with the zeros that ceil_mode adds."""
        return pad_spatial(x, (0,) * len(self.kernel), self.after_ceil, 0.0)

    def slide(self, x: Tensor) -> Tensor:
        """Return the windows over x, padded already: [N, C, *outputs, *kernel], a view."""
        for axis, (size, stride, dilation) in enumerate(zip(self.kernel, self.strides, self.dilations, strict=True)):
            x = x.unfold(2 + axis, (size - 1) * dilation + 1, stride)[..., ::dilation]
        return x


def windows(call: OperatorCall, size: Sequence[int], kernel: Sequence[int]) -> Windows:
    """Return the windows of a node over an image of this size, by its strides, dilations, pads, auto_pad and
    ceil_mode."""
    count = len(kernel)
    strides = call.integers("strides") or [1] * count
    dilations = call.integers("dilations") or [1] * count
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto, pads = call.text("auto_pad", "NOTSET"), call.integers("pads") or [0] * 2 * count
    before, after = pads[:count], pads[count:]
    if auto == "VALID":
        before, after = [0] * count, [0] * count
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(size, strides, reach, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    extra = [0] * count
    if call.integer("ceil_mode") and auto == "NOTSET":
        for axis in range(count):
            whole = size[axis] + before[axis] + after[axis]
            outputs = math.ceil((whole - reach[axis]) / strides[axis]) + 1
            # a window that would start in the padding at the end is left out
            outputs -= (outputs - 1) * strides[axis] >= size[axis] + before[axis]
            extra[axis] = max(0, (outputs - 1) * strides[axis] + reach[axis] - whole)
    return Windows(*map(tuple, (kernel, strides, dilations, before, after, extra)))


def pad_spatial(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    """Return x [N, C, …] with its spatial axes padded; negative amounts crop."""
    amounts = [amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair]
    return F.pad(x, amounts, value=value) if any(amounts) else x

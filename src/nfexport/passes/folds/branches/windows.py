"""Where a convolution reads along one axis, and the window that does what two others do together.

Output position y reads the input at s·y − begin + d·j, for each tap j of the kernel. Two windows of one stride are
aligned by the taps: the union of both sets of offsets, on the finest grid that holds them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from nfexport.passes.folds.scales.factor import Refusal


class Axis(NamedTuple):
    """The window along one axis: the taps of the kernel, their distance, and the zeros in front and behind."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0

    @property
    def reach(self) -> int:
        """How far the last tap is from the first."""
        return self.dilation * (self.kernel - 1)

    @property
    def spare(self) -> int:
        """How many positions more than the input has the output has, at stride 1."""
        return self.begin + self.end - self.reach

    @property
    def is_point(self) -> bool:
        """True if each output position reads the input position of the same index alone."""
        return self == Axis(dilation=self.dilation)

    @property
    def grid(self) -> int:
        """The distance of the taps, 0 for a single one, which is on any grid."""
        return self.dilation if self.kernel > 1 else 0

    def output_size(self, size: int) -> int:
        """Return how many output positions an input of this size has."""
        return (size + self.spare) // self.stride + 1


def union(first: Axis, second: Axis, size: int | None) -> Axis:
    """Return the window that has the taps of both. size is the input's along this axis, None if unknown.

    Raises Refusal if the two do not have the same output positions."""
    if first.stride != second.stride:
        raise Refusal(f"their strides differ ({first.stride} and {second.stride})")
    if first.spare != second.spare and (size is None or first.output_size(size) != second.output_size(size)):
        raise Refusal("their outputs have different sizes, or may have")
    grid = math.gcd(first.grid, second.grid, first.begin - second.begin) or 1
    begin = max(first.begin, second.begin)
    longest = max(first, second, key=lambda axis: axis.reach - axis.begin)
    kernel = (longest.reach - longest.begin + begin) // grid + 1
    return Axis(kernel, first.stride, grid if kernel > 1 else 1, begin, longest.end)


def chain(first: Axis, second: Axis) -> Axis:
    """Return the window of the second convolution on the output of the first; only a first one without stride and
    kernel lets the second one pad."""
    step = first.stride * second.dilation
    grid = math.gcd(first.grid, step if second.kernel > 1 else 0) or 1
    kernel = (first.reach + step * (second.kernel - 1)) // grid + 1
    return Axis(
        kernel=kernel,
        stride=first.stride * second.stride,
        dilation=grid if kernel > 1 else 1,
        begin=first.begin + second.begin,
        end=first.end + second.end,
    )

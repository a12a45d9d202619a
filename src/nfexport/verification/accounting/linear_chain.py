"""What a chain of linear operators of a network adds up to, in float64: one kernel and one offset.

    Diag(s, t) after K:   w'[o] = s[o]·w[o],        b' = s·b + t
    K after Diag(s, t):   w'[o,i] = w[o,i]·s[i],    b'[o] = b[o] + Σ w[o,i]·t[i]
    K₂ after K₁:          w'[o,i,d] = Σ w₂[o,m,d₂]·w₁[m,i,d₁],   d = d₁ + stride₁·d₂
    K₁ + K₂:              the sum of the kernels, each with zeros around it

d is where a tap reads, relative to the pixel; a linear layer is a kernel without taps. Nothing here knows the passes
that fold such chains in a file.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = Sequence[int]


class NoKernel(Exception):  # noqa: N818  # not an error: the caller looks at the next chain
    """The chain has no single kernel."""


@dataclasses.dataclass(frozen=True, eq=False)
class Diag:
    """x ↦ scale·x + shift; each is a number or a vector over channels."""

    scale: Array
    shift: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Reverse:
    """x ↦ x with its channels in the opposite order."""


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or linear layer. weight is [O, I/groups, …] in float32 or float64, bias [O]."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Sum:
    """first + sign·second, over the same value."""

    first: Steps
    second: Steps
    sign: float = 1.0

    @functools.cached_property
    def extent(self) -> Extent | None:
        """The shape of the kernel; sums share their parts, so each is looked at once."""
        one, two = extent_of(self.first), extent_of(self.second)
        if one is None or two is None or len(one.taps) != len(two.taps):
            return one or two
        taps = tuple(map(max, one.taps, two.taps))
        return Extent(one.filters, one.channels, taps, one.layers + two.layers, one.stride)


Step = Diag | Reverse | Layer | Sum
Steps = tuple[Step, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """weight is [O, I/groups, *taps], offset [O], begin the displacement of the first tap of each axis.

    magnitude and offset_magnitude are the largest numbers that went into the sums: float32 rounds relative to
    them."""

    weight: Array
    offset: Array
    groups: int
    begin: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    magnitude: float
    offset_magnitude: float

    def regrouped(self, groups: int) -> Array:
        """Return the weight with fewer groups, and zeros between the old ones. Raises NoKernel if they do not fit."""
        if groups == self.groups:
            return self.weight
        if groups > self.groups or self.groups % groups:
            raise NoKernel
        filters, inner, *taps = self.weight.shape
        merged = self.groups // groups
        wide = np.zeros((groups, merged, filters // self.groups, merged, inner, *taps))
        old = self.weight.reshape(groups, merged, filters // self.groups, inner, *taps)
        for index in range(merged):
            wide[:, index, :, index] = old[:, index]
        return wide.reshape(filters, merged * inner, *taps)


def is_plain(steps: Steps) -> bool:
    """Say whether there is one layer, so that the kernel has the shape of its weight."""
    return sum(isinstance(step, Layer) for step in steps) == 1 and not any(isinstance(step, Sum) for step in steps)


def layer_of(steps: Steps) -> Layer:
    """Return the only layer of a plain chain."""
    return next(step for step in steps if isinstance(step, Layer))


@dataclasses.dataclass(frozen=True)
class Extent:
    """The shape of a kernel with all groups merged: filters, channels, and taps along each axis."""

    filters: int
    channels: int
    taps: tuple[int, ...]
    layers: int
    stride: tuple[int, ...]


def extent_of(steps: Steps) -> Extent | None:
    """Return the shape that kernel_of(steps) will have, without computing it; None if there is no layer."""
    found: Extent | None = None
    for step in steps:
        then: Extent | None = None
        if isinstance(step, Layer):
            filters, inner, *taps = step.weight.shape
            then = Extent(filters, inner * step.groups, tuple(taps), 1, step.stride or (1,) * len(taps))
        elif isinstance(step, Sum):
            then = step.extent
        if then is None or found is None or len(then.taps) != len(found.taps):
            found = then or found
            continue
        spans = tuple((b - 1) * s + a for a, b, s in zip(found.taps, then.taps, found.stride, strict=True))
        stride = tuple(a * b for a, b in zip(found.stride, then.stride, strict=True))
        found = Extent(then.filters, found.channels, spans, found.layers + then.layers, stride)
    return found


def kernel_of(steps: Steps, rows: Rows | None = None) -> Kernel:
    """Return what the steps add up to; rows selects output channels of a plain chain.

    Raises NoKernel if there is no layer, or the shapes do not fit."""
    found = _add_up(steps, None if rows is None else np.asarray(rows))
    if not isinstance(found, Kernel):
        raise NoKernel
    return found


@dataclasses.dataclass(eq=False)
class _Front:
    """What happens to the channels in front of the first layer."""

    scale: Array = dataclasses.field(default_factory=lambda: np.ones(()))
    shift: Array = dataclasses.field(default_factory=lambda: np.zeros(()))
    backwards: bool = False


def _add_up(steps: Steps, rows: NDArray[np.int_] | None) -> Kernel | _Front:
    front, kernel = _Front(), None
    for step in steps:
        if isinstance(step, Reverse):
            front.backwards = not front.backwards
        elif isinstance(step, Layer):
            kernel = _first(step, front, rows) if kernel is None else _compose(_first(step, _Front(), None), kernel)
        elif isinstance(step, Sum):
            total = _sum(step)
            if not isinstance(total, Kernel):
                front = _before(front, total)
            elif kernel is not None:
                kernel = _compose(total, kernel)
            else:
                kernel = _fed(total, front)
        elif kernel is None:
            front = _before(front, _Front(step.scale, step.shift))
        else:
            kernel = _scaled(kernel, step, rows)
    return front if kernel is None else kernel


def _before(front: _Front, then: _Front) -> _Front:
    try:
        scale = np.asarray(front.scale * then.scale)
        return _Front(scale, np.asarray(front.shift * then.scale + then.shift), front.backwards)
    except ValueError:
        raise NoKernel from None


def _picked(vector: NDArray[Any], rows: NDArray[np.int_] | None) -> NDArray[Any]:
    return vector if rows is None or vector.size == 1 else vector[rows]


def _scaled(kernel: Kernel, step: Diag, rows: NDArray[np.int_] | None) -> Kernel:
    filters = len(kernel.weight)
    try:
        scale = np.broadcast_to(_picked(step.scale, rows), filters)
        shift = np.broadcast_to(_picked(step.shift, rows), filters)
    except (ValueError, IndexError):
        raise NoKernel from None
    parts = np.abs(kernel.offset * scale), np.abs(shift)
    largest = float(np.abs(scale).max(initial=0.0))
    return dataclasses.replace(
        kernel,
        weight=kernel.weight * _along(scale, kernel.weight.ndim),
        offset=kernel.offset * scale + shift,
        magnitude=kernel.magnitude * largest if kernel.magnitude else 0.0,
        offset_magnitude=max(kernel.offset_magnitude * largest, *(float(part.max(initial=0.0)) for part in parts)),
    )


def _along(vector: Array, axes: int) -> Array:
    return vector.reshape(-1, *[1] * (axes - 1))


def _first(layer: Layer, front: _Front, rows: NDArray[np.int_] | None) -> Kernel:
    weight = layer.weight if rows is None else layer.weight[rows]
    array = weight.astype(np.float64)
    filters, _, *taps = array.shape
    bias = np.zeros(filters) if layer.bias is None else _picked(layer.bias, rows).astype(np.float64)
    plain = Kernel(
        weight=array,
        offset=bias,
        groups=layer.groups,
        begin=tuple(-pad for pad in layer.padding) or (0,) * len(taps),
        stride=layer.stride or (1,) * len(taps),
        dilation=layer.dilation or (1,) * len(taps),
        magnitude=float(np.abs(array).max(initial=0.0)),
        offset_magnitude=float(np.abs(bias).max(initial=0.0)),
    )
    return _fed(plain, front, rows, int(layer.weight.shape[0]))


def _fed(kernel: Kernel, front: _Front, rows: NDArray[np.int_] | None = None, filters: int | None = None) -> Kernel:
    """Return a kernel behind what happens to its input channels."""
    array, count = kernel.weight, filters or len(kernel.weight)
    channels = array.shape[1] * kernel.groups
    if front.scale.size == front.shift.size == 1 and not front.backwards and front.scale == 1 and front.shift == 0:
        return kernel
    try:
        scale, shift = np.broadcast_to(front.scale, channels), np.broadcast_to(front.shift, channels)
    except ValueError:
        raise NoKernel from None
    group = (np.arange(count) if rows is None else rows) // (count // kernel.groups)
    inner = group[:, None] * array.shape[1] + np.arange(array.shape[1])
    spatial = [1] * (array.ndim - 2)
    terms = array.reshape(*array.shape[:2], -1).sum(2) * shift[inner]
    scaled = array * scale[inner].reshape(*inner.shape, *spatial)
    if front.backwards:
        if kernel.groups != 1:
            raise NoKernel
        scaled = scaled[:, ::-1]
    return dataclasses.replace(
        kernel,
        weight=scaled,
        offset=kernel.offset + terms.sum(1),
        magnitude=float(np.abs(scaled).max(initial=0.0)),
        offset_magnitude=max(kernel.offset_magnitude, float(np.abs(terms).sum(1).max(initial=0.0))),
    )


def _compose(second: Kernel, first: Kernel) -> Kernel:
    """Return second after first; an offset of the first counts as if nothing were padded behind it."""
    if second.weight.shape[1] * second.groups != len(first.weight):
        raise NoKernel
    if set(first.dilation) - {1} or set(second.dilation) - {1}:
        raise NoKernel
    if second.weight.ndim != first.weight.ndim:
        raise NoKernel
    groups = math.gcd(first.groups, second.groups)
    w1, w2 = first.regrouped(groups), second.regrouped(groups)
    span = [(b - 1) * stride + a for a, b, stride in zip(w1.shape[2:], w2.shape[2:], first.stride, strict=True)]
    filters, middle = len(w2), w2.shape[1]
    total: Array = np.zeros((groups, filters // groups, w1.shape[1], *span))
    left = w2.reshape(groups, filters // groups, middle, *w2.shape[2:])
    right = w1.reshape(groups, middle, *w1.shape[1:])
    for tap in itertools.product(*map(range, w2.shape[2:])):
        at = tuple(slice(t * s, t * s + n) for t, s, n in zip(tap, first.stride, w1.shape[2:], strict=True))
        one = np.moveaxis(left.reshape(*left.shape[:3], -1), 3, 0)[
            np.ravel_multi_index(tap, w2.shape[2:]) if tap else 0
        ]
        window: Any = (..., *at)
        total[window] += np.einsum("gom,gmi...->goi...", one, right)
    offsets = first.offset.reshape(groups, middle)
    sums = np.einsum("gom,gm->go", left.reshape(*left.shape[:3], -1).sum(3), offsets).reshape(-1)
    largest = float(np.abs(total).max(initial=0.0))
    return Kernel(
        weight=total.reshape(filters, w1.shape[1], *span),
        offset=second.offset + sums,
        groups=groups,
        begin=tuple(a + s * b for a, b, s in zip(first.begin, second.begin, first.stride, strict=True)),
        stride=tuple(a * b for a, b in zip(first.stride, second.stride, strict=True)),
        dilation=first.dilation,
        magnitude=largest,
        offset_magnitude=max(second.offset_magnitude, float(np.abs(sums).max(initial=0.0))),
    )


def _sum(step: Sum) -> Kernel | _Front:
    one, two = _add_up(step.first, None), _add_up(step.second, None)
    if isinstance(one, _Front) and isinstance(two, _Front):
        if one.backwards or two.backwards:
            raise NoKernel
        return _Front(np.asarray(one.scale + step.sign * two.scale), np.asarray(one.shift + step.sign * two.shift))
    first = one if isinstance(one, Kernel) else _identity(one, two)
    second = two if isinstance(two, Kernel) else _identity(two, one)
    groups = math.gcd(first.groups, second.groups)
    if len(first.weight) != len(second.weight) or first.stride != second.stride:
        raise NoKernel
    dilation = first.dilation if math.prod(first.weight.shape[2:]) > 1 else second.dilation
    if dilation != second.dilation and math.prod(second.weight.shape[2:]) > 1:
        raise NoKernel
    begin = tuple(map(min, first.begin, second.begin))
    ends = [
        max(k.begin[axis] + (k.weight.shape[2 + axis] - 1) * dilation[axis] for k in (first, second))
        for axis in range(len(begin))
    ]
    taps = [(end - low) // gap + 1 for end, low, gap in zip(ends, begin, dilation, strict=True)]
    parts = [_spread(kernel, groups, begin, dilation, taps) for kernel in (first, second)]
    return Kernel(
        weight=parts[0] + step.sign * parts[1],
        offset=first.offset + step.sign * second.offset,
        groups=groups,
        begin=begin,
        stride=first.stride,
        dilation=dilation,
        magnitude=max(first.magnitude, second.magnitude),
        offset_magnitude=max(first.offset_magnitude, second.offset_magnitude),
    )


def _spread(kernel: Kernel, groups: int, begin: Sequence[int], dilation: Sequence[int], taps: Sequence[int]) -> Array:
    weight = kernel.regrouped(groups)
    wide = np.zeros((*weight.shape[:2], *taps))
    at = []
    for axis, (low, gap) in enumerate(zip(begin, dilation, strict=True)):
        start, left = divmod(kernel.begin[axis] - low, gap)
        if left:
            raise NoKernel
        at.append(slice(start, start + weight.shape[2 + axis]))
    wide[(slice(None), slice(None), *at)] = weight
    return wide


def _identity(front: _Front, like: Kernel | _Front) -> Kernel:
    """Return scale·x + shift as a depthwise kernel of one tap, next to another kernel."""
    assert isinstance(like, Kernel)
    if front.backwards or like.weight.shape[1] * like.groups != len(like.weight):
        raise NoKernel
    filters, axes = len(like.weight), like.weight.ndim - 2
    try:
        scale, shift = np.broadcast_to(front.scale, filters), np.broadcast_to(front.shift, filters)
    except ValueError:
        raise NoKernel from None
    return Kernel(
        weight=scale.reshape(filters, 1, *[1] * axes).copy(),
        offset=shift.copy(),
        groups=filters,
        begin=(0,) * axes,
        stride=(1,) * axes,
        dilation=(1,) * axes,
        magnitude=float(np.abs(scale).max(initial=0.0)),
        offset_magnitude=float(np.abs(shift).max(initial=0.0)),
    )

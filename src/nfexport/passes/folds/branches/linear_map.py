"""A linear map of an image with an offset, as one convolution computes it: y = w ∗ x + b.

Kernels are computed when they are asked for: most maps that are read from a graph stay as they are. All numbers are
float64. A map without spatial axes is a linear layer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.folds.branches import kernels
from nfexport.passes.folds.branches.windows import Axis, chain, union
from nfexport.passes.folds.scales.factor import Refusal

Numbers = Callable[[], Array]

MORE = "one convolution would need more multiplications"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearMap:
    """The map of one value of a graph.

    filters and channels are the numbers of output and input channels; both are 0 for a map that keeps channels apart
    and is the same for any number of them, such as the identity; its kernel and offset have one entry, or one for
    each channel. dtype is None where no stored weight decides it. layers are the convolutions and linear layers that
    it was made from; merged says that one convolution takes the place of several nodes, at least one of them a
    convolution. parts_cost are the multiplications of all of these, for each output position."""

    source: ir.Value
    window: tuple[Axis, ...]
    filters: int = 0
    channels: int = 0
    groups: int = 1
    kernel: Numbers
    offset: Numbers
    has_offset: bool
    dtype: ir.DataType | None = None
    layers: tuple[str, ...] = ()
    merged: bool = False
    parts_cost: int = 0

    @property
    def spent(self) -> int:
        """Multiplications of the nodes that it was made from."""
        return self.parts_cost or self.cost

    @property
    def pays(self) -> bool:
        """True if it needs no more multiplications than they."""
        return self.cost <= self.spent

    @property
    def cost(self) -> int:
        """Multiplications for each output position; of a map for any number of channels, for one channel."""
        width = self.channels // self.groups if self.filters else 1
        return max(self.filters, 1) * width * math.prod(axis.kernel for axis in self.window)

    @property
    def is_point(self) -> bool:
        """True if each pixel depends on the pixel at its place alone."""
        return all(axis.is_point for axis in self.window)


def pointwise(source: ir.Value, axes: int, scale: Array, offset: Array) -> LinearMap:
    """Return y = scale · x + offset; both are vectors over the channels, or have one entry."""
    return LinearMap(
        source=source,
        window=(Axis(),) * axes,
        kernel=lambda: scale.reshape(-1, *[1] * (axes + 1)),
        offset=lambda: offset,
        has_offset=bool(offset.any()),
    )


def identity(source: ir.Value, axes: int) -> LinearMap:
    """Return y = x."""
    return pointwise(source, axes, np.ones(1), np.zeros(1))


def scaled(given: LinearMap, scale: Array, offset: Array) -> LinearMap:
    """Return scale · given + offset. Raises Refusal if the factors would make more channels."""
    sizes = {scale.size, offset.size} - {1}
    if given.filters and sizes - {given.filters}:
        raise Refusal("its factors do not have its channels")
    shape = (-1, *[1] * (len(given.window) + 1))
    return dataclasses.replace(
        given,
        kernel=lambda: given.kernel() * scale.reshape(shape),
        offset=lambda: given.offset() * scale + offset,
        has_offset=given.has_offset or bool(offset.any()),
    )


def total(first: LinearMap, second: LinearMap, sizes: Sequence[int | None]) -> LinearMap:
    """Return the sum of two maps of one value, of these sizes along its spatial axes.

    Raises Refusal if it is not a convolution, or needs more multiplications than the two."""
    first, second = _of_same_channels(first, second)
    window = tuple(union(*axes) for axes in zip(first.window, second.window, sizes, strict=True))
    groups = math.gcd(first.groups, second.groups)

    def kernel() -> Array:
        parts = (
            kernels.enlarge(kernels.regroup(part.kernel(), part.groups, groups), part.window, window)
            for part in (first, second)
        )
        return next(parts) + next(parts)

    result = LinearMap(
        source=first.source,
        window=window,
        filters=first.filters,
        channels=first.channels,
        groups=groups,
        kernel=kernel,
        offset=lambda: first.offset() + second.offset(),
        has_offset=first.has_offset or second.has_offset,
        dtype=first.dtype or second.dtype,
        layers=(*first.layers, *second.layers),
        merged=bool(first.layers or second.layers),
        parts_cost=first.spent + second.spent,
    )
    if not result.pays:
        raise Refusal(MORE)
    return result


def after(first: LinearMap, second: LinearMap) -> LinearMap:
    """Return the second map of what the first one gives.

    Raises Refusal if that is not a convolution at the border. It may need more multiplications than the two."""
    padded = any(axis.begin or axis.end for axis in second.window)
    if padded and first.has_offset:
        raise Refusal("the second convolution pads with zeros what the first one has added its offset to")
    if padded and any(axis.kernel > 1 or axis.stride > 1 for axis in first.window):
        raise Refusal("the second convolution pads with zeros, where the first one goes on computing")
    inner = _of_channels(first, second.channels) if second.filters else first
    outer = _of_channels(second, inner.filters) if inner.filters else second
    if not inner.filters:
        inner, outer = _for_any_channels(inner, outer)
    elif inner.filters != outer.channels:
        raise Refusal("the channels do not fit")
    groups = math.gcd(inner.groups, outer.groups)
    window = tuple(chain(*axes) for axes in zip(inner.window, outer.window, strict=True))

    def kernel() -> Array:
        one, other = (kernels.regroup(part.kernel(), part.groups, groups) for part in (inner, outer))
        return kernels.multiply(one, other, groups, tuple(zip(inner.window, outer.window, window, strict=True)))

    def offset() -> Array:
        taps = kernels.regroup(outer.kernel(), outer.groups, groups)
        sums = taps.reshape(groups, taps.shape[0] // groups, taps.shape[1], -1).sum(axis=-1)
        through = sums @ np.broadcast_to(inner.offset(), inner.kernel().shape[:1]).reshape(groups, -1, 1)
        return np.asarray(through.reshape(-1) + outer.offset())

    any_channels = not (first.filters or second.filters)
    return LinearMap(
        source=first.source,
        window=window,
        filters=0 if any_channels else outer.filters,
        channels=0 if any_channels else inner.channels,
        groups=1 if any_channels else groups,
        kernel=kernel,
        offset=offset,
        has_offset=inner.has_offset or outer.has_offset,
        dtype=inner.dtype or outer.dtype,
        layers=(*inner.layers, *outer.layers),
        merged=first.merged or second.merged or bool(first.layers and second.layers),
        parts_cost=inner.spent * math.prod(axis.stride for axis in outer.window) + outer.spent,
    )


def _of_same_channels(first: LinearMap, second: LinearMap) -> tuple[LinearMap, LinearMap]:
    if not first.filters and not second.filters:
        return first, second
    if not first.filters:
        first = _kept_apart(first, second)
    elif not second.filters:
        second = _kept_apart(second, first)
    if first.dtype is not None and second.dtype is not None and first.dtype != second.dtype:
        raise Refusal("their weights have different types")
    if (first.filters, first.channels) != (second.filters, second.channels):
        raise Refusal("their numbers of channels differ")
    return first, second


def _kept_apart(given: LinearMap, beside: LinearMap) -> LinearMap:
    """Return a map for any number of channels with those of the map that it is added to."""
    if beside.filters != beside.channels:
        raise Refusal("what is added to the convolution has its input channels")
    return _of_channels(given, beside.filters)


def _of_channels(given: LinearMap, channels: int) -> LinearMap:
    """Return a map for any number of channels as one of these; any other as it is."""
    if given.filters:
        return given
    if {given.kernel().shape[0], given.offset().size} - {1, channels}:
        raise Refusal("its factors do not have its channels")
    taps = given.kernel().shape[1:]
    return dataclasses.replace(
        given,
        filters=channels,
        channels=channels,
        groups=channels,
        parts_cost=given.spent * channels,
        kernel=lambda: np.broadcast_to(given.kernel(), (channels, *taps)),
        offset=lambda: np.broadcast_to(given.offset(), channels),
    )


def _for_any_channels(first: LinearMap, second: LinearMap) -> tuple[LinearMap, LinearMap]:
    """Return two maps for any number of channels with as many as their numbers have."""
    parts = (first, second)
    most = max(size for part in parts for size in (part.kernel().shape[0], part.offset().size))
    return _of_channels(first, most), _of_channels(second, most)

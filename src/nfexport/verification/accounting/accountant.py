"""Finds for every stored tensor what the module has for it."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.accounting.closeness import differs, excess, factor_ranges, shared_factors, within_padding
from nfexport.verification.accounting.linear_chain import (
    Extent,
    Kernel,
    NoKernel,
    Steps,
    extent_of,
    is_plain,
    kernel_of,
    layer_of,
)
from nfexport.verification.accounting.stored_numbers import Stored

Array = NDArray[Any]
Kind = Literal["parameter", "fold", "constant", "unexplained", "wrong"]

FEW = 16
"""Numbers of a tensor that may be a constant of a formula."""

PROBES = 6
"""Filters that are looked at before a whole kernel is computed; one that agrees is enough."""

CLOSE = 0.2
"""Relative distance (root of the sum of squares) from which on a tensor has nothing to do with another."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
    """What a stored tensor is. error is the largest difference from the nearest candidate, relative to its largest
    number; wrong counts the numbers that are off."""

    kind: Kind
    error: float = 0.0
    wrong: int = 0


class Accountant:
    """Holds what the module has, and accounts for tensors one by one.

    parameters are those of the module and its buffers, by name; constants and vectors are what it computes from them;
    chains are its linear operators. factors_moved says that a tensor may be a multiple of the module's."""

    def __init__(
        self,
        parameters: Mapping[str, Array],
        constants: Iterable[Array] = (),
        vectors: Iterable[Array] = (),
        chains: Iterable[Steps] = (),
        *,
        factors_moved: bool = False,
    ) -> None:
        self.parameters = parameters
        self._factors_moved = factors_moved
        self._owned = {_place(array) for array in parameters.values()}
        self._used: set[int] = set()
        self._by_size: dict[int, list[Array]] = defaultdict(list)
        arrays = (*parameters.values(), *constants)
        for array in {(_place(array), array.size): array for array in arrays}.values():
            self._by_size[array.size].append(array)
        self._vectors: dict[int, list[tuple[Array, float]]] = defaultdict(list)
        for vector in vectors:
            self._vectors[vector.size].append((vector, 0.0))
        self._plain: dict[tuple[int, ...], list[Steps]] = defaultdict(list)
        self._composite: list[tuple[Extent, Steps]] = []
        for steps in {id(steps): steps for steps in chains}.values():
            if is_plain(steps):
                self._plain[layer_of(steps).weight.shape].append(steps)
            elif (extent := extent_of(steps)) is not None:
                self._composite.append((extent, steps))
        self._composite.sort(key=lambda pair: -pair[0].layers)  # whole blocks before their parts
        self._kernels: dict[int, Kernel | None] = {}
        self._matched: dict[int, list[tuple[Array, float]]] = defaultdict(list)
        self._offsets: dict[int, list[tuple[Array, float]]] = {}

    def account(self, stored: Stored) -> Account:
        """Return what a stored tensor is."""
        name, _, _ = stored.name.partition(":")
        named = self.parameters.get(base_name(name))
        if stored.array.size and named is not None and self._is(stored, [named]):
            return Account(kind="parameter")
        if not np.isfinite(stored.array).all():
            pass
        elif self._is(stored, (one for one in self._by_size[stored.array.size] if _place(one) in self._owned)):
            return Account(kind="parameter")
        elif (
            self._is(stored, (one for one in self._by_size[stored.array.size] if _place(one) not in self._owned))
            or self._is_kernel(stored)
            or self._is_vector(stored)
            or self._is_part(stored)
            or self._is_padded(stored)
        ):
            return Account(kind="fold")
        if _may_be_constant(stored) and not (stored.is_weight and named is not None):
            return Account(kind="constant")
        return self._nearest(stored, named)

    def _is(self, stored: Stored, candidates: Iterable[Array]) -> bool:
        for candidate in candidates:
            for view, half, wanted in _layouts(stored, candidate):
                if self._same(stored, view, half, wanted, 0.0):
                    self._used.add(_place(candidate))
                    return True
        return False

    def has_spare(self, stored: Stored) -> bool:
        """Say whether a parameter of the shape of a layer's weight is stored nowhere, once all tensors are accounted
        for: what stands in its place is wrong, as no fold is known that would explain it."""
        if not stored.is_weight or stored.array.ndim < 2:
            return False
        shape = _squeezed(_as_layer(stored)[0].shape)
        return any(
            _squeezed(one.shape) == shape and _place(one) in self._owned - self._used
            for one in self._by_size[stored.array.size]
        )

    def _same(self, stored: Stored, array: Array, half: Array | None, wanted: Array, magnitude: float) -> bool:
        if not _may_be(stored, array, half, wanted, self._factors_moved):
            return False
        if differs(stored, array, half, wanted, magnitude) == 0.0:
            return True
        return self._factors_moved and _is_multiple(stored, array, half, wanted, magnitude)

    def _is_kernel(self, stored: Stored) -> bool:
        """Say whether a weight is what a chain of layers adds up to."""
        if stored.array.ndim < 2:
            return False
        array, half = _as_layer(stored)
        shapes = {array.shape, *(shape for shape in self._plain if _squeezed(shape) == _squeezed(array.shape))}
        for shape in shapes:
            for steps in self._plain.get(shape, ()):
                if len(steps) > 1 and self._is_plain_kernel(stored, array, half, steps):
                    return True
        return any(
            self._is_regrouped(stored, array, half, kernel) for kernel in self._composites(array, stored.groups)
        )

    def _is_plain_kernel(self, stored: Stored, array: Array, half: Array | None, steps: Steps) -> bool:
        rows = list(_probes(len(array)))
        try:
            probe = kernel_of(steps, rows).weight.reshape(len(rows), *array.shape[1:])
            part, some = None if half is None else half[rows], array[rows]
            if not any(
                self._same(stored, some[i], None if part is None else part[i], probe[i], float(np.abs(array).max()))
                for i in range(len(rows))
            ):
                return False
            kernel = kernel_of(steps)
        except NoKernel:
            return False
        if not self._matches(stored, array, half, kernel.weight.reshape(array.shape), kernel):
            return False
        self._used.add(_place(layer_of(steps).weight))
        return True

    def _matches(self, stored: Stored, array: Array, half: Array | None, wanted: Array, kernel: Kernel) -> bool:
        """Say whether a weight is that of a kernel, and remember the offset, which the bias next to it has to be."""
        if not self._same(stored, array, half, wanted, kernel.magnitude):
            return False
        self._matched[kernel.offset.size].append((kernel.offset, kernel.offset_magnitude))
        return True

    def _is_padded(self, stored: Stored) -> bool:
        """Say whether a tensor is a weight or offset with zeros in between, as wider groups need them."""
        if not stored.is_weight or stored.operator != "Conv":
            return False
        array, half = stored.array, stored.half_step
        if array.ndim == 1:
            return self._is_padded_vector(stored)
        filters = int(array.reshape(len(array), -1).any(1).sum())
        for shape, chains in self._plain.items():
            if shape[0] != filters or shape[2:] != array.shape[2:]:
                continue
            for steps in chains:
                try:
                    kernel = kernel_of(steps)
                except NoKernel:
                    continue
                wanted = within_padding(array, stored.groups, kernel.weight, kernel.groups)
                if wanted is not None and self._same(stored, array, half, wanted, kernel.magnitude):
                    return True
        return False

    def _is_padded_vector(self, stored: Stored) -> bool:
        at = np.flatnonzero(stored.array)
        for size in {size for size in (*self._by_size, *self._vectors) if len(at) <= size < stored.array.size}:
            for vector, magnitude in (*((one, 0.0) for one in self._by_size[size]), *self._known_vectors(size)):
                numbers = vector[vector != 0]
                if len(numbers) != len(at):
                    continue
                wanted = np.zeros(stored.array.size)
                wanted[at] = numbers
                if self._same(stored, stored.array, stored.half_step, wanted, magnitude):
                    return True
        return False

    def _is_regrouped(self, stored: Stored, array: Array, half: Array | None, kernel: Kernel) -> bool:
        try:
            wanted = kernel.regrouped(stored.groups) if stored.groups <= kernel.groups else kernel.weight
        except NoKernel:
            return False
        if _squeezed(wanted.shape) != _squeezed(array.shape):
            return False
        return self._matches(stored, array, half, wanted.reshape(array.shape), kernel)

    def _composites(self, array: Array, groups: int) -> Iterator[Kernel]:
        """Yield the kernels of several layers that have the shape of a weight, each computed once."""
        filters, inner, *taps = array.shape
        for extent, steps in self._composite:
            fits = extent.filters == filters and _squeezed(extent.taps) == _squeezed(taps)
            if fits and extent.channels in (inner, inner * groups):
                kernel = self._kernel(steps)
                if kernel is not None:
                    yield kernel

    def _kernel(self, steps: Steps) -> Kernel | None:
        if id(steps) not in self._kernels:
            self._kernels[id(steps)] = next(_evaluated([steps]), None)
        return self._kernels[id(steps)]

    def _is_vector(self, stored: Stored) -> bool:
        """Say whether a tensor with one axis is an offset of a chain, or a factor or offset for each channel."""
        array, half = stored.array.reshape(-1), None if stored.half_step is None else stored.half_step.reshape(-1)
        if sum(size > 1 for size in stored.array.shape) > 1:
            return False
        return any(self._same(stored, array, half, *known) for known in self._known_vectors(array.size))

    def _known_vectors(self, size: int) -> Iterator[tuple[Array, float]]:
        """Yield vectors with their magnitudes: factors and offsets for each channel, then what chains offset."""
        yield from self._matched[size]
        yield from self._vectors[size]
        if size not in self._offsets:
            self._offsets[size] = self._chain_offsets(size)
        yield from self._offsets[size]

    def _chain_offsets(self, size: int) -> list[tuple[Array, float]]:
        plain = [
            steps for shape, chains in self._plain.items() if shape[0] == size for steps in chains if len(steps) > 1
        ]
        composite = (self._kernel(steps) for extent, steps in self._composite if extent.filters == size)
        kernels = itertools.chain(_evaluated(plain), (kernel for kernel in composite if kernel is not None))
        return [(kernel.offset, kernel.offset_magnitude) for kernel in kernels]

    def _is_part(self, stored: Stored) -> bool:
        """Say whether a tensor is a slice of another along its first axis, or some of them one after the other."""
        layout, half = _as_layer(stored) if stored.array.ndim > 1 else (stored.array, stored.half_step)
        if layout.ndim == 0:
            return False
        for candidate in itertools.chain.from_iterable(self._by_size.values()):
            if candidate.ndim != layout.ndim or candidate.shape[1:] != layout.shape[1:] or not layout.size:
                continue
            count, have = len(layout), len(candidate)
            if count < have and have % count == 0 and have // count <= 4:
                for start in range(0, have, count):
                    if self._same(stored, layout, half, candidate[start : start + count], 0.0):
                        return True
        return False

    def _nearest(self, stored: Stored, named: Array | None) -> Account:
        """Return how far a tensor is off the nearest candidate: wrong if that is near, or has its name."""
        best: tuple[float, float, int] | None = None
        near = named is not None and named.size == stored.array.size and stored.array.size > 1
        for array, half, wanted in self._comparable(stored, named):
            off = excess(stored, array, half, wanted)
            rows = (off.reshape(len(off), -1) > 0).any(1) if off.ndim > 1 else off.reshape(-1) > 0
            distance = _distance(array, wanted)
            if distance > CLOSE and rows.mean() > 0.5 and not near:
                continue
            found = (float(rows.mean()), float(off.max(initial=0.0)), int((off > 0).sum()))
            best = found if best is None else min(best, found)
        if best is None:
            return Account(kind="wrong" if near else "unexplained", error=1.0, wrong=stored.array.size)
        return Account(kind="wrong", error=best[1], wrong=best[2])

    def _comparable(self, stored: Stored, named: Array | None) -> Iterator[tuple[Array, Array | None, Array]]:
        for candidate in self._by_size[stored.array.size]:
            yield from _layouts(stored, candidate)
        if stored.array.ndim > 1:
            array, half = _as_layer(stored)
            for shape, chains in self._plain.items():
                if _squeezed(shape) == _squeezed(array.shape):
                    for kernel in _evaluated(chains):
                        yield array, half, kernel.weight.reshape(array.shape)
            for kernel in self._composites(array, stored.groups):
                if _squeezed(kernel.weight.shape) == _squeezed(array.shape):
                    yield array, half, kernel.weight.reshape(array.shape)
        else:
            array, half = stored.array, stored.half_step
            for vector, _ in self._known_vectors(array.size):
                yield array, half, vector.reshape(array.shape)


def _place(array: Array) -> int:
    """Return where the numbers lie: views of one tensor are the same."""
    return int(array.__array_interface__["data"][0])


def base_name(name: str) -> str:
    """Return the name of the parameter that a stored tensor is named after."""
    return name.removesuffix("_quantized").removesuffix(".T")


def _evaluated(chains: Iterable[Steps]) -> Iterator[Kernel]:
    for steps in chains:
        try:
            yield kernel_of(steps)
        except NoKernel:
            continue


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _probes(count: int) -> Sequence[int]:
    return sorted({int(index) for index in np.linspace(0, count - 1, PROBES)})


def _as_layer(stored: Stored) -> tuple[Array, Array | None]:
    """Return the numbers as [O, I, …], as a layer of torch holds them."""
    if not stored.transposed or stored.array.ndim < 2:
        return stored.array, stored.half_step
    axes = (1, 0) if stored.operator == "ConvTranspose" else (-1, -2)
    half = None if stored.half_step is None else stored.half_step.swapaxes(*axes)
    return stored.array.swapaxes(*axes), half


def _layouts(stored: Stored, candidate: Array) -> Iterator[tuple[Array, Array | None, Array]]:
    """Yield the stored numbers and a candidate in a common layout: as the reader needs it, or for tables, which have
    no order of their own, in any order of the axes."""
    if candidate.size != stored.array.size:
        return
    array, half = stored.array, stored.half_step
    if stored.is_weight and array.ndim > 1 and candidate.ndim > 1 and stored.operator != "ConvTranspose":
        array, half = _as_layer(stored)
        if _squeezed(candidate.shape) == _squeezed(array.shape):
            yield array, half, candidate.reshape(array.shape)
        # a module that multiplies by its parameter itself holds it as the file does
        if stored.transposed and candidate.shape == stored.array.shape:
            yield stored.array, stored.half_step, candidate
        return
    inner = candidate.reshape(_squeezed(candidate.shape))
    if inner.ndim <= 1:
        yield array, half, inner.reshape(array.shape)
        return
    for axes in itertools.permutations(range(inner.ndim)) if inner.ndim <= 4 else [tuple(range(inner.ndim))]:
        yield array, half, inner.transpose(axes).reshape(array.shape)


def _may_be(stored: Stored, array: Array, half: Array | None, wanted: Array, factors_moved: bool) -> bool:
    """Say at a glance whether two arrays may be equal: from a few numbers, some of which have to agree."""
    if array.size < 4096:
        return True
    if factors_moved:
        if array.ndim < 2 or array.shape != wanted.shape:
            return True
        rows = list(_probes(len(array)))
        some, steps = array[rows].reshape(len(rows), -1), None if half is None else half[rows].reshape(len(rows), -1)
        low, high = factor_ranges(stored, some, steps, wanted[rows].reshape(len(rows), -1))
        return bool((low <= high).any())
    index = np.linspace(0, array.size - 1, 64).astype(np.int64)
    here = np.unravel_index(index, array.shape)
    largest = float(np.abs(wanted[here]).max(initial=0.0))
    steps = None if half is None else half[here]
    return bool((excess(stored, array[here], steps, wanted[here], 4 * largest) <= 0).any())


def _is_multiple(stored: Stored, array: Array, half: Array | None, wanted: Array, magnitude: float) -> bool:
    if array.size < 2 or not np.any(wanted):
        return False
    rows = wanted.reshape(1, -1) if wanted.ndim < 2 else wanted.reshape(len(wanted), -1)
    mine, steps = array.reshape(rows.shape), None if half is None else half.reshape(rows.shape)
    scale = shared_factors(stored, mine, steps, rows)
    if scale is None:
        return False
    largest = float(np.abs(scale).max())
    return differs(stored, mine, steps, rows * scale[:, None], magnitude * largest) == 0.0


def _may_be_constant(stored: Stored) -> bool:
    array = stored.array
    return array.size <= FEW or bool((array == array.flat[0]).all())


def _distance(array: Array, wanted: Array) -> float:
    exact = wanted.astype(np.float64)
    return float(np.linalg.norm(array.astype(np.float64) - exact) / (np.linalg.norm(exact) or 1.0))

"""How far a file may be from the reference, and why that far.

No fixed atol is right: float32 itself costs 1e-7 of the output range in one network and 1e-5 in another.
So the yardstick is measured: PyTorch's own error in float32 against its float64, on the same image, the
worse of its plain run and of one with its rounding made random (see random_rounding.py).

    limit = max(FACTOR · yardstick, FLOOR · 2⁻²³ · max|expected|)

for each image and output by itself, once for the worst element and once for the root mean square; a file
has to stay within both. The worst element shows a fault that few outputs see; the root mean square is the
steadier figure and shows a small fault that all of them see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-23
"""Relative distance of neighbouring float32 numbers at 1."""

FACTOR = 5.0
"""Between what correct files need and what wrong ones show. Correct: 102 exports of 37 architectures (NFNet,
BiT, ViT, hybrids, EfficientNet, ConvNeXt and others; folded at two opsets, and not folded) are at 2.6 times the
yardstick at most in ONNX Runtime, whose sums run in another order. Wrong: each single weight or bias of the
folded test_nfnet and nf_regnet_b0 scaled by 0.3 % is at 19 times or more, at 400 in the median; a fold with
eps left out or outside the root at 8,000 or more."""

FLOOR_MAX = 4.0
"""Units in the last place of the largest output: no element has to be closer, also where PyTorch happens to be
exact, as on a network with one output."""

FLOOR_RMS = 1.0
"""The same for the root mean square."""

Array = NDArray[Any]
PerImage = NDArray[np.float64]
"""One number for each entry of the batch, shape [batch]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What float32 costs on each image: absolute errors, in units of the output."""

    max_abs: PerImage
    rms: PerImage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest error of an element, and the largest root mean square, that each image may have: absolute."""

    max_abs: PerImage
    rms: PerImage


def excess(actual: Array, expected: Array, limits: Limits) -> PerImage:
    """Return each image's error in units of what is allowed, the worse of the two; both are [batch, …]."""
    error = np.abs(per_image(actual) - per_image(expected))
    return np.maximum(_ratio(error.max(axis=1), limits.max_abs), _ratio(root_mean_square(error), limits.rms))


def measure(runs: Sequence[Array], expected: Array) -> Yardstick:
    """Return the worst of several float32 runs against float64, all [batch, …] of one shape."""
    errors = [np.abs(per_image(run) - per_image(expected)) for run in runs]
    return Yardstick(
        max_abs=np.max([error.max(axis=1) for error in errors], axis=0),
        rms=np.max([root_mean_square(error) for error in errors], axis=0),
    )


def per_image(array: Array) -> NDArray[np.float64]:
    """Return [batch, …] as [batch, elements] in float64; a single number as [1, 1]."""
    return array.astype(np.float64).reshape(array.shape[0] if array.ndim else 1, -1)


def root_mean_square(values: NDArray[np.float64]) -> PerImage:
    """Over the second axis of [batch, elements]."""
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=1)))


def output_range(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return max − min of each image's outputs [batch, elements]; where all are equal, max|.|, and where
    all are 0, 1."""
    spread = np.ptp(expected, axis=1)
    largest = np.abs(expected).max(axis=1)
    return np.where(spread > 0, spread, np.where(largest > 0, largest, 1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """excess is the error in units of what is allowed, passed where at most 1; limit is the largest error
    that the tolerance allows an element, absolute. Both for each image."""

    excess: PerImage
    limit: PerImage


class Tolerance(Protocol):
    """A rule for the largest error allowed; unit is the relative rounding that its yardstick is measured with."""

    @property
    def unit(self) -> float:
        """The relative rounding, such as 2⁻²³ for float32."""

    def judge(self, actual: Array, expected: Array, yardstick: Yardstick) -> Judgement:
        """Return how the error compares with what is allowed: finite arrays [batch, …] of one shape, expected in
        float64."""

    def describe(self) -> str:
        """Return the rule in a few words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Float32Tolerance:
    """The default rule, as this module's docstring gives it."""

    factor: float = FACTOR
    unit: float = UNIT
    arithmetic: str = "PyTorch's own float32 error"

    def judge(self, actual: Array, expected: Array, yardstick: Yardstick) -> Judgement:
        """See Tolerance."""
        limits = self.limits(expected, yardstick)
        return Judgement(excess=excess(actual, expected, limits), limit=limits.max_abs)

    def limits(self, expected: Array, yardstick: Yardstick) -> Limits:
        """Return the largest error allowed on each image; expected is [batch, …] in float64."""
        unit = self.unit * np.abs(per_image(expected)).max(axis=1)
        return Limits(
            max_abs=np.maximum(self.factor * yardstick.max_abs, FLOOR_MAX * unit),
            rms=np.maximum(self.factor * yardstick.rms, FLOOR_RMS * unit),
        )

    def describe(self) -> str:
        """See Tolerance."""
        return f"{self.factor:g} times {self.arithmetic}"


def default_tolerance(precision: str) -> Float32Tolerance:
    """Return the default rule for a file of 'float32', of float16 weights ('fp16-weights') or of float16
    arithmetic too ('fp16').

    The yardstick is PyTorch with every operator's result off by float16's rounding at random: 2⁻¹⁰ where
    results are rounded, 2⁻¹¹, the most that a weight loses, where only weights are."""
    if precision == "float32":
        return Float32Tolerance()
    if precision == "fp16":
        return Float32Tolerance(unit=2.0**-10, arithmetic="what rounding every result to float16 costs PyTorch")
    return Float32Tolerance(unit=2.0**-11, arithmetic="what rounding the weights to float16 costs PyTorch")


MOST_NOISE = 0.5
"""Of the standard deviation of an output, the rms error that no int8 file may exceed: 6 dB of signal over noise.
Files of seven networks that were calibrated on nine seeded images are at 0.03 to 0.20 on their worst image, those of
six of seven that were calibrated on black ones at 0.6 to 1.1, and one that returns zeros at 1 or more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int8Tolerance:
    """The root mean square of an image's error is at most `bound` of its output's range, max − min, and in no case
    more than MOST_NOISE of its standard deviation, as the bound is what the file says of itself.

    What int8 costs depends on the ranges that it was calibrated with, which no run of PyTorch knows; so the
    bound is what was measured when the file was quantised, with a margin. It is wide: whether the graph is the
    one that was measured is checked elsewhere (nfexport.quantization.identity)."""

    bound: float

    @property
    def unit(self) -> float:
        """See Tolerance."""
        return UNIT

    def judge(self, actual: Array, expected: Array, yardstick: Yardstick) -> Judgement:
        """See Tolerance."""
        limits = self.limits(expected, yardstick)
        return Judgement(excess=excess(actual, expected, limits), limit=limits.max_abs)

    def limits(self, expected: Array, yardstick: Yardstick) -> Limits:
        """Return the largest error allowed on each image; a single element may hold all of it."""
        wanted = per_image(expected)
        spread = wanted.std(axis=1)
        rms = np.minimum(self.bound * output_range(wanted), np.where(spread > 0, MOST_NOISE * spread, np.inf))
        return Limits(max_abs=rms * np.sqrt(wanted.shape[1]), rms=rms)

    def describe(self) -> str:
        """See Tolerance."""
        return (
            f"int8: rms error within {self.bound:.2e} of the output range, as measured when it was quantised, and "
            f"within {MOST_NOISE:g} of the output's standard deviation"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseTolerance:
    """The signal-to-noise ratio of each image, 10 log10(Σ expected² / Σ error²), is at least so many decibels.

    For quantised files, whose error no float run tells."""

    decibels: float

    @property
    def unit(self) -> float:
        """See Tolerance."""
        return UNIT

    def judge(self, actual: Array, expected: Array, yardstick: Yardstick) -> Judgement:
        """See Tolerance."""
        wanted = per_image(expected)
        rms = 10.0 ** (-self.decibels / 20.0) * root_mean_square(wanted)
        limits = Limits(max_abs=rms * np.sqrt(wanted.shape[1]), rms=rms)
        return Judgement(excess=excess(actual, expected, limits), limit=limits.max_abs)

    def describe(self) -> str:
        """See Tolerance."""
        return f"a signal-to-noise ratio of {self.decibels:g} dB or more"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedTolerance:
    """|actual − expected| ≤ atol + rtol · |expected| for every element, as numpy.allclose.

    For users who need a fixed bound. What float32 costs in the network at hand is not taken into account."""

    rtol: float
    atol: float

    @property
    def unit(self) -> float:
        """See Tolerance."""
        return UNIT

    def judge(self, actual: Array, expected: Array, yardstick: Yardstick) -> Judgement:
        """See Tolerance."""
        wanted = per_image(expected)
        limit = self.atol + self.rtol * np.abs(wanted)
        error = np.abs(per_image(actual) - wanted)
        return Judgement(excess=_ratio(error, limit).max(axis=1), limit=limit.max(axis=1))

    def describe(self) -> str:
        """See Tolerance."""
        return f"rtol {self.rtol:g}, atol {self.atol:g}"


def _ratio(error: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return error / limit; an error of 0 is within any limit, 0 included."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, 0.0, error / limit)

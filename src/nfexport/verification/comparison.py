"""Compare two arrays under a rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.tolerance import (
    Array,
    Tolerance,
    measure,
    output_range,
    per_image,
    root_mean_square,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One output of one batch against the reference; every figure is that of the worst image.

    Relative errors are in units of the image's output range, max − min of the expected output.
    excess is the error in units of what is allowed. Figures are None where there was nothing to compare:
    another shape, numbers that are not finite, a runtime that stopped. top1 and top5 are the fractions of images
    whose best class, or set of five best classes, agrees; None also for outputs other than [batch, classes].
    reason says why the comparison did not pass, and is empty if it did.
    """

    passed: bool
    reason: str
    finite: bool = True
    max_abs: float | None = None
    max_relative: float | None = None
    rms_relative: float | None = None
    yardstick_relative: float | None = None
    yardstick_rms_relative: float | None = None
    limit_relative: float | None = None
    excess: float | None = None
    cosine: float | None = None
    top1: float | None = None
    top5: float | None = None

    @property
    def severity(self) -> float:
        """Orders comparisons from best to worst; infinite where there was nothing to compare."""
        return float("inf") if self.excess is None else self.excess


def compare(
    actual: Array, expected: NDArray[np.float64], float32: Sequence[Array], tolerance: Tolerance
) -> Comparison:
    """Compare a runtime's output with the reference.

    actual, expected and each of the float32 runs of PyTorch are [batch, …]; expected is float64. An output
    with NaN or infinity never passes, nor does one of another shape."""
    if actual.shape != expected.shape:
        return Comparison(passed=False, reason=f"its shape is {actual.shape} instead of {expected.shape}")
    if not np.isfinite(actual).all():
        count = int(np.size(actual) - np.isfinite(actual).sum())
        return Comparison(passed=False, finite=False, reason=f"{count} of {actual.size} values are not finite")
    if not np.isfinite(expected).all():
        return Comparison(
            passed=False, finite=False, reason="the PyTorch model itself gives values that are not finite"
        )
    yardstick = measure(float32, expected)
    judgement = tolerance.judge(actual, expected, yardstick)
    wanted = per_image(expected)
    error = np.abs(per_image(actual) - wanted)
    scale = output_range(wanted)
    excess = float(judgement.excess.max())
    top1, top5 = (top_agreement(actual, expected, k) for k in (1, 5))
    return Comparison(
        passed=excess <= 1,
        reason="" if excess <= 1 else f"its error is {excess:.3g} times what is allowed",
        max_abs=float(error.max()),
        max_relative=float((error.max(axis=1) / scale).max()),
        rms_relative=float((root_mean_square(error) / scale).max()),
        yardstick_relative=float((yardstick.max_abs / scale).max()),
        yardstick_rms_relative=float((yardstick.rms / scale).max()),
        limit_relative=float((judgement.limit / scale).max()),
        excess=excess,
        cosine=float(cosine(per_image(actual), wanted).min()),
        top1=top1,
        top5=top5,
    )


def cosine(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a · e / (|a| |e|) of each image; 1 where both are 0, 0 where one is.

    It proves little: folds that are 4 % of the range wrong keep 0.9997."""
    norms = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
    products = np.sum(actual * expected, axis=1)
    both_zero = ~actual.any(axis=1) & ~expected.any(axis=1)
    return np.where(norms > 0, products / np.where(norms > 0, norms, 1.0), both_zero.astype(np.float64))


def top_agreement(actual: Array, expected: Array, k: int) -> float | None:
    """Return the fraction of images whose k best classes are the same set; None for arrays other than floats [batch,
    classes]. If there are fewer classes than k, all of them count."""
    if expected.ndim != 2 or actual.dtype.kind != "f":
        return None
    best = [np.sort(np.argsort(-array, axis=1, kind="stable")[:, :k], axis=1) for array in (actual, expected)]
    return float(np.mean(np.all(best[0] == best[1], axis=1)))


def compare_exact(actual: Array, expected: Array, float32: Sequence[Array]) -> Comparison:
    """Compare whole numbers, or booleans, with the reference: they have to be equal, but where a float32 run of the
    reference differs from it, as a tie or a number near a half may fall either way, its value is right too."""
    if actual.shape != expected.shape:
        return Comparison(passed=False, reason=f"its shape is {actual.shape} instead of {expected.shape}")
    right = actual == expected
    for run in float32:
        right = right | (actual == run)
    wrong = int(right.size - right.sum())
    return Comparison(
        passed=not wrong,
        reason=f"{wrong} of its {right.size} values differ" if wrong else "",
        excess=None if wrong else 0.0,
    )

"""Expected outputs and their limits: from a reference to what a golden stores, and the comparison with it.

The expected output is rounded to the element type of the file. The error of that rounding is added to both limits, so
that whatever the verifier accepts passes the check too: for the largest error and for the root mean square,
|actual − rounded| ≤ |actual − expected| + |expected − rounded|.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.goldens.data_sets import digest
from nfexport.goldens.manifest import Tensor
from nfexport.verification.tolerance import (
    Float32Tolerance,
    Int8Tolerance,
    Limits,
    excess,
    measure,
    per_image,
    root_mean_square,
)

Array = NDArray[Any]
Expected = tuple[Tensor, Array]
"""An output as in the manifest, and its numbers; file and sha256 are set when it is written."""

PENDING = ""
Rule = Float32Tolerance | Int8Tolerance


def expect_values(name: str, expected: Array, runs: Sequence[Array], rule: Rule, dtype: np.dtype[Any]) -> Expected:
    """Return an output with its limits; expected is [batch, …] in float64, runs are the same in float32."""
    rounded = expected.astype(dtype)
    limits = rule.limits(expected, measure(runs, expected))
    lost = np.abs(per_image(rounded) - per_image(expected))
    wider = Limits(max_abs=limits.max_abs + lost.max(axis=1), rms=limits.rms + root_mean_square(lost))
    return _tensor(name, rounded, max_abs=tuple(wider.max_abs.tolist()), rms=tuple(wider.rms.tolist())), rounded


def expect_indices(
    name: str,
    scores: Array,
    runs: Sequence[Array],
    rule: Rule,
    dtype: np.dtype[Any],
    k: int,
) -> Expected:
    """Return the k best classes of scores, [batch, classes] in float64, each with the classes that may take its
    place: those whose scores differ by no more than rounding."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    limits = rule.limits(best, measure([-np.sort(-run, axis=1)[:, :k] for run in runs], best))
    choices = tuple(
        tuple(
            tuple(np.flatnonzero(np.abs(scores[image] - best[image, place]) <= limit).tolist()) for place in range(k)
        )
        for image, limit in enumerate(limits.max_abs)
    )
    indices = order.astype(dtype)
    return _tensor(name, indices, choices=choices), indices


def expect_exactly(name: str, array: Array) -> Expected:
    """Return an output that has to be equal: integers, or an empty tensor."""
    return _tensor(name, array), array


def _tensor(name: str, array: Array, **rule: Any) -> Tensor:
    return Tensor(
        name=name,
        dtype=str(array.dtype),
        shape=array.shape,
        file=PENDING,
        values_sha256=digest(array),
        **rule,
    )


def judge(actual: Array, expected: Array, tensor: Tensor) -> tuple[float, str]:
    """Return the error as a multiple of what is allowed, and the reason if it is above 1, else an empty text."""
    if actual.shape != expected.shape:
        return np.inf, f"its shape is {list(actual.shape)} instead of {list(expected.shape)}"
    if actual.dtype.kind in "fc" and not np.isfinite(actual).all():
        return np.inf, f"{int(actual.size - np.isfinite(actual).sum())} of {actual.size} values are not finite"
    if tensor.choices is not None:
        return _judge_indices(actual, tensor)
    if tensor.max_abs is None or tensor.rms is None:
        same = np.array_equal(actual, expected)
        return (0.0, "") if same else (np.inf, f"{int((actual != expected).sum())} of {actual.size} values differ")
    worst = excess(actual, expected, Limits(max_abs=np.array(tensor.max_abs), rms=np.array(tensor.rms)))
    ratio = float(worst.max())
    if ratio <= 1:
        return ratio, ""
    error = float(np.abs(per_image(actual) - per_image(expected)).max())
    return ratio, f"its error is {ratio:.3g} times what is allowed, up to {error:.2g}"


def _judge_indices(actual: Array, tensor: Tensor) -> tuple[float, str]:
    assert tensor.choices is not None
    for image, (row, places) in enumerate(zip(actual.tolist(), tensor.choices, strict=True)):
        if len(set(row)) != len(row):
            return np.inf, f"image {image} names a class twice"
        for place, (index, allowed) in enumerate(zip(row, places, strict=False)):
            if index not in allowed:
                wanted = " or ".join(map(str, allowed))
                return np.inf, f"image {image} has class {index} at place {place} instead of {wanted}"
    return 0.0, ""

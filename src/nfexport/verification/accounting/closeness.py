"""Whether a stored tensor holds the numbers of another one, to rounding, and how far it is off where it does not.

A number may differ by 4 units in the last place of the largest one of its tensor, as other exporters compute in
float32, and, in addition, by what its own storage rounds: half a unit of float16, half a step of an integer's scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.accounting.stored_numbers import Stored
from nfexport.verification.tolerance import FLOOR_MAX, UNIT

Array = NDArray[Any]

SMALLEST_HALF = 2.0**-25
"""Half of the smallest number that float16 holds."""

LEAST_SHARE = 8
"""Of the rows of a tensor, this fraction has to share a factor: q, k and v are thirds."""


def excess(stored: Stored, array: Array, half_step: Array | None, wanted: Array, magnitude: float = 0.0) -> Array:
    """Return by how much more than is allowed each number is off, relative to the largest one of the tensor.

    array and half_step are the stored numbers, in the layout of wanted; magnitude is the largest number that went
    into the sums of wanted, if it is larger."""
    exact = wanted.astype(np.float64, copy=False)
    scale = max(float(np.abs(exact).max(initial=0.0)), magnitude) or 1.0
    if not np.isfinite(scale):  # such as the reciprocal of a zero, which no file stores
        return np.full(exact.shape, np.inf)
    off = np.abs(array.astype(np.float64) - exact)
    if stored.unit:
        off -= np.maximum(stored.unit * np.abs(exact), SMALLEST_HALF)
    if half_step is not None:
        off -= half_step
    return off / scale - FLOOR_MAX * UNIT


def differs(stored: Stored, array: Array, half_step: Array | None, wanted: Array, magnitude: float = 0.0) -> float:
    """Return 0 if every number is as near as it has to be, else the largest difference relative to the largest
    number."""
    if array.dtype == wanted.dtype and np.array_equal(array, wanted):
        return 0.0
    worst = float(excess(stored, array, half_step, wanted, magnitude).max(initial=-1.0))
    return 0.0 if worst <= 0 else worst + FLOOR_MAX * UNIT


def shared_factors(stored: Stored, array: Array, half_step: Array | None, wanted: Array) -> Array | None:
    """Return the factor between two arrays of rows for each row, or None if too few rows share one.

    Each number of a row allows a range of factors, and so do all of them together; rows that follow one another have
    to allow the same factor, and each such run has to hold an eighth of the rows: a filter alone never has a factor
    of its own. array, half_step and wanted are [rows, numbers]; rows of zeros allow any factor."""
    low, high = factor_ranges(stored, array, half_step, wanted)
    result = np.ones(len(low))
    start = 0
    while start < len(low):
        end, lower, upper = start, -np.inf, np.inf
        while end < len(low) and max(lower, low[end]) <= min(upper, high[end]):
            lower, upper = max(lower, low[end]), min(upper, high[end])
            end += 1
        if (end - start) * LEAST_SHARE < len(low) or (end - start <= 1 < len(low)):
            return None
        if np.isfinite(lower) and np.isfinite(upper):
            result[start:end] = (lower + upper) / 2
        start = end
    return result


def factor_ranges(stored: Stored, array: Array, half_step: Array | None, wanted: Array) -> tuple[Array, Array]:
    """Return the least and the largest factor that each row allows; the arrays are [rows, numbers]."""
    array = array.astype(np.float64)
    slack = FLOOR_MAX * UNIT * np.abs(array).max(initial=0.0) + np.zeros_like(array)
    if stored.unit:
        slack += np.maximum(stored.unit * np.abs(array), SMALLEST_HALF)
    if half_step is not None:
        slack += half_step
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(array - slack) / wanted, (array + slack) / wanted])
    given = wanted != 0
    low = np.where(given, ends.min(0), -np.inf).max(1, initial=-np.inf)
    high = np.where(given, ends.max(0), np.inf).min(1, initial=np.inf)
    return low, high


def within_padding(array: Array, groups: int, weight: Array, own_groups: int) -> Array | None:
    """Return a weight in the layout of a stored one that has more channels, or fewer groups, with zeros in between.

    array is [O', I'/groups, …], weight [O, I/own_groups, …]; the filters and channels of array that are not all zero
    take those of weight in their order. Returns None if there are not as many."""
    filters = np.flatnonzero(array.reshape(len(array), -1).any(1))
    if array.ndim != weight.ndim or array.shape[2:] != weight.shape[2:] or len(filters) != len(weight):
        return None
    used = array.reshape(groups, len(array) // groups, array.shape[1], -1).any((1, 3)).reshape(-1)
    channels = np.flatnonzero(used)
    if len(channels) != weight.shape[1] * own_groups:
        return None
    first = np.arange(len(weight)) // (len(weight) // own_groups) * weight.shape[1]
    base = filters // (len(array) // groups) * array.shape[1]
    at = channels[first[:, None] + np.arange(weight.shape[1])] - base[:, None]
    if ((at < 0) | (at >= array.shape[1])).any():
        return None
    result = np.zeros(array.shape)
    result[filters[:, None], at] = weight
    return result

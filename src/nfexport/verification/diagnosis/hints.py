"""What kind of fault a wrong tensor looks like.

To add a hint, write a function of a node's output and of what PyTorch computes there, [batch, channels, …], that
returns a sentence or None, and put it into KINDS, in front of all hints that are less specific.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Hint = Callable[[Array, Array], str | None]

CLOSE = 1e-4
"""Of the tensor's range: the most that float32 explains; errors below it get no hint but that of float16."""

HALF = 2.0**-11
"""The most that rounding to float16 changes a normal number, relative."""

FEW = 0.1
"""Share of channels that counts as a few of them."""


def hints_for(actual: NDArray[Any], expected: NDArray[Any]) -> list[str]:
    """Return the most specific hint at the fault of a wrong tensor; empty if none applies."""
    if actual.shape != expected.shape or actual.ndim < 2 or not np.isfinite(actual).all():
        count = int(actual.size - np.isfinite(actual).sum())
        return [f"{count} of its {actual.size} values are NaN or infinite"] if count else []
    pair = actual.astype(np.float64), expected.astype(np.float64)
    if _off(*pair).max() <= CLOSE:  # every pattern below would fit
        return [hint] if (hint := rounded(*pair)) is not None else []
    return next(([hint] for kind in KINDS if (hint := kind(*pair)) is not None), [])


def _off(actual: Array, expected: Array) -> Array:
    return np.asarray(np.abs(actual - expected) / (np.ptp(expected) or 1.0))


def _axes(array: Array) -> tuple[int, ...]:
    return tuple(axis for axis in range(array.ndim) if axis != 1)


def one_factor(actual: Array, expected: Array) -> str | None:
    """Recognise actual = c · expected."""
    norm = float((expected * expected).sum())
    factor = float((actual * expected).sum()) / norm if norm else 0.0
    if factor == 0 or _off(actual, factor * expected).max() > CLOSE:
        return None
    return f"it is {factor:.6g} times what it should be: a constant, a gain or a scale"


def some_entries(actual: Array, expected: Array) -> str | None:
    """Recognise an error in some entries of the batch only."""
    if len(actual) < 2:
        return None
    wrong = _off(actual, expected).reshape(len(actual), -1).max(axis=1) > CLOSE
    if wrong.all() or not wrong.any():
        return None
    entries = ", ".join(str(index) for index in np.flatnonzero(wrong))
    return f"only entries {entries} of the batch are wrong: a fixed batch, or entries that influence one another"


def shifted(actual: Array, expected: Array) -> str | None:
    """Recognise an image that has moved by one pixel."""
    if actual.ndim != 4 or min(actual.shape[2:]) < 3:
        return None
    for name, axis, by in (("down", 2, 1), ("up", 2, -1), ("right", 3, 1), ("left", 3, -1)):
        inner = [slice(None), slice(None), slice(1, -1), slice(1, -1)]
        if _off(actual[tuple(inner)], np.roll(expected, by, axis)[tuple(inner)]).max() <= CLOSE:
            return f"it is shifted {name} by one pixel: padding on the wrong side, or the phase of a stride"
    return None


def at_the_border(actual: Array, expected: Array) -> str | None:
    """Recognise an error at the border only."""
    if actual.ndim != 4 or min(actual.shape[2:]) < 5:
        return None
    wrong = _off(actual, expected).max(axis=(0, 1)) > CLOSE
    if wrong.any() and not wrong[2:-2, 2:-2].any():
        return "only pixels at the border are wrong: the padding, or the value that it is filled with"
    return None


def other_order(actual: Array, expected: Array) -> str | None:
    """Recognise channels in another order."""
    channels = actual.shape[1]
    if not 1 < channels <= 4096:
        return None
    flat = [np.moveaxis(array, 1, 0).reshape(channels, -1) for array in (actual, expected)]
    ranks = [np.lexsort(array[:, :8].T[::-1]) for array in flat]
    if (ranks[0] == ranks[1]).all() or _off(flat[0][ranks[0]], flat[1][ranks[1]]).max() > CLOSE:
        return None
    moved = int((ranks[0] != ranks[1]).sum())
    return f"{moved} of its {channels} channels are in another order"


def few_channels(actual: Array, expected: Array) -> str | None:
    """Recognise an error in a few channels only."""
    channels = actual.shape[1]
    wrong = np.flatnonzero(_off(actual, expected).max(axis=_axes(actual)) > CLOSE)
    if not 0 < len(wrong) <= max(2, FEW * channels) or len(wrong) == channels:
        return None
    named = ", ".join(map(str, wrong[:6])) + (", …" if len(wrong) > 6 else "")
    return f"only {len(wrong)} of {channels} channels are wrong ({named}): filters of the weight, or a bias"


def rounded(actual: Array, expected: Array) -> str | None:
    """Recognise numbers that are rounded to float16."""
    near = np.abs(actual - expected) <= 1.01 * HALF * np.abs(expected) + 2.0**-24
    if near.all() and bool((np.float16(actual) == actual).all()):
        return "it is rounded to float16"
    return None


def factor_per_channel(actual: Array, expected: Array) -> str | None:
    """Recognise actual = c[channel] · expected."""
    axes = _axes(actual)
    norms = (expected * expected).sum(axes, keepdims=True)
    factors = np.divide((actual * expected).sum(axes, keepdims=True), norms, out=np.ones_like(norms), where=norms > 0)
    if actual.size < 4 * factors.size or _off(actual, factors * expected).max() > CLOSE:
        return None
    low, high = factors.min(), factors.max()
    return (
        f"each channel is off by a factor of its own, {low:.6g} to {high:.6g}: a gain, or the variance or eps of "
        "its weight standardisation"
    )


def offset_per_channel(actual: Array, expected: Array) -> str | None:
    """Recognise actual = expected + c[channel]."""
    axes = _axes(actual)
    offsets = (actual - expected).mean(axes, keepdims=True)
    if actual.size < 4 * offsets.size or _off(actual, expected + offsets).max() > CLOSE:
        return None
    return "each channel is off by a constant of its own: a bias, or a mean that was not subtracted"


def transposed(actual: Array, expected: Array) -> str | None:
    """Recognise height and width that are swapped."""
    if actual.ndim != 4 or actual.shape[2] != actual.shape[3]:
        return None
    if _off(actual, expected.swapaxes(2, 3)).max() > CLOSE:
        return None
    return "height and width are swapped"


KINDS: tuple[Hint, ...] = (
    some_entries,
    one_factor,
    shifted,
    at_the_border,
    transposed,
    other_order,
    rounded,
    few_channels,
    factor_per_channel,
    offset_per_channel,
)

"""How alike the outputs of two models are, by the figures that people quote; none of them decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.comparison import cosine, top_agreement
from nfexport.verification.tolerance import output_range, per_image

Array = NDArray[Any]
MOST_NAMED = 3
"""Inputs that are named as the worst."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstInput:
    """An entry of a batch, and the largest difference of its outputs, relative to their range."""

    case: str
    entry: int
    max_relative: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likeness:
    """One output of B against that of A, over all batches.

    equal is True where every bit agrees. max_abs is in units of the output, max_relative in units of A's range for
    each entry. sqnr is the signal-to-noise ratio in decibels, 10 log10(Σ a² / Σ (b − a)²), None where there is no
    noise or no signal. cosine is that of the worst entry; top1 and top5 are the shares of entries whose best class,
    or set of five, agrees. Figures are None where the shapes differ, or numbers are not finite; reason says so. For
    whole numbers only `equal_share`, the share of equal values, is given."""

    output: str
    equal: bool
    equal_share: float | None = None
    max_abs: float | None = None
    max_relative: float | None = None
    sqnr: float | None = None
    cosine: float | None = None
    top1: float | None = None
    top5: float | None = None
    worst: tuple[WorstInput, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return dataclasses.asdict(self)


def likeness(output: str, pairs: Mapping[str, tuple[Array, Array]]) -> Likeness:
    """Return how alike the outputs a and b are, given for each batch by its name, each [batch, …]."""
    arrays = list(pairs.values())
    if odd := next(((a.shape, b.shape) for a, b in arrays if a.shape != b.shape), None):
        return Likeness(output=output, equal=False, reason=f"the shapes are {list(odd[0])} and {list(odd[1])}")
    equal = all(np.array_equal(a, b) for a, b in arrays)
    share = _share(arrays)
    if any(array.dtype.kind in "biu" for pair in arrays for array in pair):
        return Likeness(output=output, equal=equal, equal_share=share)
    if not all(np.isfinite(array).all() for pair in arrays for array in pair):
        return Likeness(output=output, equal=equal, equal_share=share, reason="some numbers are not finite")
    signal = noise = largest = 0.0
    cosines: list[float] = []
    worst: list[WorstInput] = []
    tops: dict[int, list[float]] = {1: [], 5: []}
    for case, (a, b) in pairs.items():
        wanted, given = per_image(a), per_image(b)
        error = np.abs(given - wanted)
        signal += float(np.sum(np.square(wanted)))
        noise += float(np.sum(np.square(error)))
        largest = max(largest, float(error.max(initial=0.0)))
        cosines += cosine(given, wanted).tolist()
        relative = error.max(axis=1, initial=0.0) / output_range(wanted)
        worst += [WorstInput(case=case, entry=entry, max_relative=float(r)) for entry, r in enumerate(relative)]
        for k, found in tops.items():
            if (agreement := top_agreement(b, a, k)) is not None:
                found += [agreement] * len(a)
    worst.sort(key=lambda one: -one.max_relative)
    return Likeness(
        output=output,
        equal=equal,
        equal_share=share,
        max_abs=largest,
        max_relative=worst[0].max_relative if worst else None,
        sqnr=float(10.0 * np.log10(signal / noise)) if noise and signal else None,
        cosine=min(cosines, default=None),
        top1=float(np.mean(tops[1])) if tops[1] else None,
        top5=float(np.mean(tops[5])) if tops[5] else None,
        worst=tuple(one for one in worst[:MOST_NAMED] if one.max_relative > 0),
    )


def _share(arrays: Sequence[tuple[Array, Array]]) -> float | None:
    total = sum(a.size for a, _ in arrays)
    return sum(int(np.sum(a == b)) for a, b in arrays) / total if total else None

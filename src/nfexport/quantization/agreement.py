"""How far an int8 file is from the float file on the same images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.recipe.recipe import Output
from nfexport.runtimes import Session
from nfexport.verification.comparison import top_agreement
from nfexport.verification.tolerance import output_range, per_image, root_mean_square

Array = NDArray[Any]
TINY = 1e-300
"""Stands for a power of 0, which has no logarithm."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """The outputs of an int8 file against those of the float file, on a number of images.

    top1 and top5 are the fractions of images whose best class, or set of five best, agrees, None without
    class scores. rms_mean and rms_max are the mean and the largest root mean square of the error, relative to the
    range of the output, over all images and outputs; sqnr_db is the power of the float outputs over that of the
    error, in decibels."""

    images: int
    top1: float | None
    top5: float | None
    rms_mean: float
    rms_max: float
    sqnr_db: float


def measure_agreement(
    exact: Session, rounded: Session, outputs: Iterable[Output], batches: Iterable[Mapping[str, Array]]
) -> Agreement:
    """Run both files on the same batches and compare their outputs; the indices of a TopK are left out."""
    compared = [output for output in outputs if output.kind != "topk-indices"]
    scores = next((output.name for output in compared if output.kind in ("logits", "probs", "sigmoid")), None)
    errors: list[NDArray[np.float64]] = []
    best: dict[int, list[NDArray[np.float64]]] = {1: [], 5: []}
    signal = noise = 0.0
    count = 0
    for feeds in batches:
        wanted, found = (session.run(feeds) for session in (exact, rounded))
        size = len(wanted[compared[0].name])
        count += size
        for output in compared:
            expected, actual = per_image(wanted[output.name]), per_image(found[output.name])
            error = actual - expected
            errors.append(root_mean_square(error) / output_range(expected))
            signal, noise = signal + float(np.square(expected).sum()), noise + float(np.square(error).sum())
        if scores is not None:
            for k, shares in best.items():
                share = top_agreement(found[scores], wanted[scores], k)
                shares.append(np.full(size, np.nan if share is None else share))
    every = np.concatenate(errors)
    return Agreement(
        images=count,
        top1=_mean(best[1]),
        top5=_mean(best[5]),
        rms_mean=float(every.mean()),
        rms_max=float(every.max()),
        sqnr_db=10 * math.log10(max(signal, TINY) / max(noise, TINY)),
    )


def _mean(shares: list[NDArray[np.float64]]) -> float | None:
    if not shares:
        return None
    share = float(np.concatenate(shares).mean())
    return None if math.isnan(share) else share

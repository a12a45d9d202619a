"""Compare the accuracy that was measured with the accuracy that is expected."""

from __future__ import annotations

import dataclasses

from nfexport.errors import InputError
from nfexport.images.evaluate.evaluation import Evaluation
from nfexport.images.evaluate.runners import TORCH
from nfexport.recipe.about import About

WITHIN = 0.1
"""Default tolerance in percentage points: other versions of decoders and resizing move the accuracy by up to this."""
SLACK = 1e-9
"""Rounding error of the difference of two decimal fractions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expectation:
    """The top-1 and top-5 that are expected, in per cent, None for no expectation.

    A measured value meets it within so many percentage points to either side: an accuracy that is too high was
    measured on other data."""

    top1: float | None = None
    top5: float | None = None
    within: float = WITHIN

    def check(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Return one sentence for each figure that is not as expected, in each runtime of the file."""
        return tuple(
            f"{figure} in {score.runtime} is {'unknown' if got is None else f'{got:.2f} %'}, "
            f"expected {wanted:.2f} % ± {self.within:g}"
            for score in evaluation.scores
            if score.runtime != TORCH
            for figure, wanted, got in (("top-1", self.top1, score.top1), ("top-5", self.top5, score.top5))
            if wanted is not None and (got is None or abs(got - wanted) > self.within + SLACK)
        )


def claimed(about: About | None, *, within: float = WITHIN) -> Expectation:
    """Return the expectation of the accuracy that was published for the model, as the file states it.

    Raises InputError if the file states none."""
    if about is None or about.claimed is None:
        raise InputError("the file states no published accuracy", fix="pass --expect-top1 and --expect-top5")
    return Expectation(top1=about.claimed.top1, top5=about.claimed.top5, within=within)

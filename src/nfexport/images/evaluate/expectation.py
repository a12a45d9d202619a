"""Hold an evaluation to the accuracy that is expected."""

from __future__ import annotations

import dataclasses

from nfexport.errors import InputError
from nfexport.images.evaluate.evaluation import Evaluation
from nfexport.images.evaluate.runners import TORCH
from nfexport.recipe.about import About

WITHIN = 0.1
"""Percentage points, by default: what decoders and resizing of other versions were seen to move, and no more."""
SLACK = 1e-9
"""Of a difference of two decimal fractions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expectation:
    """top1 and top5 in per cent, None for no claim; a measured value is fine within so many points, either way:
    a file that is better than it should be was measured on something else."""

    top1: float | None = None
    top5: float | None = None
    within: float = WITHIN

    def check(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Return one sentence for each runtime of the file and figure that is not as expected."""
        return tuple(
            f"{figure} in {score.runtime} is {'unknown' if got is None else f'{got:.2f} %'}, "
            f"{wanted:.2f} % within {self.within:g} was expected"
            for score in evaluation.scores
            if score.runtime != TORCH
            for figure, wanted, got in (("top-1", self.top1, score.top1), ("top-5", self.top5, score.top5))
            if wanted is not None and (got is None or abs(got - wanted) > self.within + SLACK)
        )


def claimed(about: About | None, *, within: float = WITHIN) -> Expectation:
    """Return the accuracy that others published of the model, as the file has it.

    Raises InputError if it has none."""
    if about is None or about.claimed is None:
        raise InputError("the file carries no accuracy that was claimed", fix="pass --expect-top1 and --expect-top5")
    return Expectation(top1=about.claimed.top1, top5=about.claimed.top5, within=within)

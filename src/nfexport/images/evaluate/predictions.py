"""From the outputs of a batch to the best classes of each picture, and their probabilities.

    best    classes by descending score; of equal scores the lowest index first, as argmax takes it
    NaN     a picture with a NaN among its scores has no best class

timm counts by torch.topk, which leaves the order of equal scores open; elsewhere the two are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.recipe.recipe import Output, Recipe

Array = NDArray[Any]
BEST = 5
NONE = -1
"""In place of a class: there is none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What one runtime says of a few pictures.

    top [pictures, ≤ 5] int32 holds the best classes, best first, NONE throughout where a score is NaN.
    probabilities [pictures, n] float64 are those of classes [pictures, n], of all in order if that is None;
    None if the file does not give any."""

    top: NDArray[np.int32]
    probabilities: NDArray[np.float64] | None
    classes: Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Which outputs of a file tell the class: one of scores, or the values and indices of a TopK.

    depth is how many of the best classes they tell, at most 5."""

    depth: int
    scores: Output | None = None
    values: str | None = None
    indices: str | None = None

    def answers(self, outputs: Mapping[str, Array]) -> Answers:
        """Return what the outputs of a batch say, by name [pictures, n]."""
        if self.scores is not None:
            return rank(outputs[self.scores.name], probabilities=self.scores.kind == "probs")
        assert self.indices is not None
        classes = outputs[self.indices]
        values = None if self.values is None else outputs[self.values].astype(np.float64)
        top = classes[:, : self.depth].astype(np.int32)
        if values is not None:
            top[np.isnan(values).any(axis=1)] = NONE
        return Answers(top=top, probabilities=values, classes=classes)


def reading_of(recipe: Recipe) -> Reading:
    """Return which outputs to read: logits before probabilities before a TopK, if the file has several.

    Raises OnnxFileError if none tells the class."""
    by_kind = {output.kind: output for output in reversed(recipe.outputs)}
    scores = by_kind.get("logits") or by_kind.get("probs")
    if scores is not None and recipe.num_classes > 0:
        return Reading(scores=scores, depth=min(BEST, recipe.num_classes))
    indices, values = by_kind.get("topk-indices"), by_kind.get("topk-values")
    if indices is not None:
        depth = min(BEST, indices.k or 1)
        return Reading(indices=indices.name, values=None if values is None else values.name, depth=depth)
    raise OnnxFileError(
        f"the file gives {', '.join(output.kind for output in recipe.outputs)}, and no classes",
        fix="export it with --output logits, probs or topk",
    )


def rank(scores: Array, *, probabilities: bool) -> Answers:
    """Return the best classes of scores [pictures, classes], which are logits unless they are probabilities."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST].astype(np.int32)
    best[np.isnan(scores).any(axis=1)] = NONE
    exact = scores.astype(np.float64)
    return Answers(top=best, probabilities=exact if probabilities else softmax(exact))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(z[n, c]) / Σ_j exp(z[n, j]) of logits z [pictures, classes], in float64."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def difference(first: Answers, second: Answers) -> list[float | None]:
    """Return the largest difference between the probabilities of a class, for each picture.

    Where one of the two has the probabilities of some classes alone, those count that both have. None where
    one of them has none, or has a NaN."""
    if first.probabilities is None or second.probabilities is None:
        return [None] * len(first.top)
    result: list[float | None] = []
    for row in range(len(first.top)):
        if first.classes is None and second.classes is None:
            largest = float(np.abs(first.probabilities[row] - second.probabilities[row]).max())
        else:
            a, b = _by_class(first, row), _by_class(second, row)
            largest = max((abs(a[index] - b[index]) for index in a.keys() & b.keys()), default=np.nan)
        result.append(largest if np.isfinite(largest) else None)
    return result


def _by_class(answers: Answers, row: int) -> dict[int, float]:
    assert answers.probabilities is not None
    values = answers.probabilities[row].tolist()
    return dict(
        enumerate(values) if answers.classes is None else zip(answers.classes[row].tolist(), values, strict=True)
    )

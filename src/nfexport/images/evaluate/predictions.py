"""From the outputs of a batch to the top classes of each image, and their probabilities.

    order   classes by descending score; of equal scores the lower index first, as argmax takes it
    NaN     an image with a NaN among its scores has no top class

timm counts by torch.topk, which leaves the order of equal scores open; other than that the two agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.images.scores import softmax
from nfexport.recipe.recipe import Output, Recipe

Array = NDArray[Any]
TOP = 5
"""The number of top classes that are kept of each image."""
NO_CLASS = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of one runtime for a batch.

    top [images, ≤ 5] int32 holds the top classes, the best one first, or NO_CLASS throughout where a score is NaN.
    probabilities [images, n] float64 are those of classes [images, n], or of all classes in order if that is None;
    None if the file does not return any."""

    top: NDArray[np.int32]
    probabilities: NDArray[np.float64] | None
    classes: Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassOutputs:
    """The outputs of a file that give the classes: one of scores, or the values and indices of a TopK.

    depth is the number of top classes that they give, at most 5."""

    depth: int
    scores: Output | None = None
    values: str | None = None
    indices: str | None = None

    def predictions(self, outputs: Mapping[str, Array]) -> Predictions:
        """Return the predictions for a batch from its outputs [images, n] by name."""
        if self.scores is not None:
            return rank(outputs[self.scores.name], probabilities=self.scores.kind != "logits")
        assert self.indices is not None
        classes = outputs[self.indices]
        values = None if self.values is None else outputs[self.values].astype(np.float64)
        top = classes[:, : self.depth].astype(np.int32)
        if values is not None:
            top[np.isnan(values).any(axis=1)] = NO_CLASS
        return Predictions(top=top, probabilities=values, classes=classes)


def class_outputs(recipe: Recipe) -> ClassOutputs:
    """Return the outputs that give the classes: logits, else probabilities (of classes, else of labels), else a TopK.

    Raises OnnxFileError if the file has none of these."""
    by_kind = {output.kind: output for output in reversed(recipe.outputs)}
    scores = by_kind.get("logits") or by_kind.get("probs") or by_kind.get("sigmoid")
    if scores is not None and recipe.num_classes > 0:
        return ClassOutputs(scores=scores, depth=min(TOP, recipe.num_classes))
    indices, values = by_kind.get("topk-indices"), by_kind.get("topk-values")
    if indices is not None:
        depth = min(TOP, indices.k or 1)
        return ClassOutputs(indices=indices.name, values=None if values is None else values.name, depth=depth)
    raise OnnxFileError(
        f"the file returns {', '.join(output.kind for output in recipe.outputs)}, but not classes",
        fix="export it with --output logits, probs, sigmoid or topk",
    )


def rank(scores: Array, *, probabilities: bool) -> Predictions:
    """Return the top classes of scores [images, classes], which are probabilities or else logits."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :TOP].astype(np.int32)
    top[np.isnan(scores).any(axis=1)] = NO_CLASS
    return Predictions(top=top, probabilities=scores.astype(np.float64) if probabilities else softmax(scores))


def difference(first: Predictions, second: Predictions) -> list[float | None]:
    """Return, for each image, the largest difference between the probabilities of a class.

    Where one of the two has the probabilities of only some classes, those that both have are compared. None where
    one of them has no probabilities, or a NaN."""
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


def _by_class(predictions: Predictions, row: int) -> dict[int, float]:
    assert predictions.probabilities is not None
    values = predictions.probabilities[row].tolist()
    classes = predictions.classes
    return dict(enumerate(values) if classes is None else zip(classes[row].tolist(), values, strict=True))

"""From the outputs of a file to the top classes and their probabilities.

Probabilities, and those of a TopK, are used as the file returns them; of logits the softmax is taken in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError, OnnxFileError
from nfexport.images.classify.description import Description
from nfexport.images.scores import softmax

Array = NDArray[Any]
DEFAULT_TOP = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredClass:
    """One class: its index, its label, and its probability in 0..1."""

    index: int
    label: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"class": self.index, "label": self.label, "probability": self.probability}


def choose_top(description: Description, top: int | None) -> int:
    """Return the number of classes to report per image: top, or by default 5, or all if there are fewer.

    Raises InputError if the file does not return that many."""
    most = description.max_classes
    if top is None:
        return min(DEFAULT_TOP, most)
    if not 1 <= top <= most:
        why = f"the top {most} classes" if description.scores[0].k else f"{most} classes"
        raise InputError(f"the file returns {why}, not {top}", fix=f"pass --top from 1 to {most}")
    return top


def top_classes(
    outputs: Mapping[str, Array], description: Description, labels: Sequence[str], top: int
) -> tuple[ScoredClass, ...]:
    """Return the top classes of one image, the most probable one first; of equal ones the lower index first.

    Raises OnnxFileError if an output is not finite, or has another number of classes than labels."""
    scores = description.scores
    values = outputs[scores[0].name]
    if not np.isfinite(values).all():
        raise OnnxFileError(
            f"the output '{scores[0].name}' has values that are not finite",
            fix="check the file with 'nfexport verify', or export it without --precision fp16",
        )
    if scores[0].kind == "topk-values":
        indices = outputs[scores[1].name][:top]
        probabilities = values[:top]
    else:
        if values.shape != (len(labels),):
            raise OnnxFileError(
                f"the output '{scores[0].name}' has shape {list(values.shape)} per image, but the recipe has "
                f"{len(labels)} classes",
                fix="export the model again",
            )
        every = softmax(values) if scores[0].kind == "logits" else values
        indices = np.argsort(-every, kind="stable")[:top]
        probabilities = every[indices]
    return tuple(
        ScoredClass(index=int(index), label=labels[int(index)], probability=float(probability))
        for index, probability in zip(indices, probabilities, strict=True)
    )

"""From what a file gives to the best classes and their probabilities.

    p[c] = exp(z[c] − max z) / Σ_j exp(z[j] − max z)

of logits z, in float64: the file's own softmax and torch's are in float32. Probabilities, and those of a TopK,
are taken as the file gives them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError, OnnxFileError
from nfexport.images.classify.description import Description

Array = NDArray[Any]
DEFAULT_TOP = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """One class: its index, its label, and its probability in 0..1."""

    index: int
    label: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"class": self.index, "label": self.label, "probability": self.probability}


def how_many(description: Description, top: int | None) -> int:
    """Return how many classes to tell of each picture: top, or 5 where there are as many.

    Raises InputError if the file does not give as many."""
    most = description.most
    if top is None:
        return min(DEFAULT_TOP, most)
    if not 1 <= top <= most:
        why = f"the best {most} classes" if description.scores[0].k else f"{most} classes"
        raise InputError(f"the file gives {why}, not {top}", fix=f"pass --top from 1 to {most}")
    return top


def softmax(logits: Array) -> NDArray[np.float64]:
    """Return the probabilities [classes] of logits [classes], in float64."""
    z = logits.astype(np.float64)
    powers: NDArray[np.float64] = np.exp(z - z.max())
    probabilities: NDArray[np.float64] = powers / powers.sum()
    return probabilities


def best(
    outputs: Mapping[str, Array], description: Description, labels: Sequence[str], top: int
) -> tuple[Guess, ...]:
    """Return the top classes of one picture, the most probable first; of equals the one of the lower index.

    Raises OnnxFileError if the file gives numbers that are not finite, or another number of classes."""
    scores = description.scores
    values = outputs[scores[0].name]
    if not np.isfinite(values).all():
        raise OnnxFileError(
            f"'{scores[0].name}' has numbers that are not finite",
            fix="check the file with 'nfexport verify', or export it without --precision fp16",
        )
    if scores[0].kind == "topk-values":
        indices = outputs[scores[1].name][:top]
        probabilities = values[:top]
    else:
        if values.shape != (len(labels),):
            raise OnnxFileError(
                f"'{scores[0].name}' has shape {list(values.shape)} for a picture, not the {len(labels)} classes of "
                "the recipe",
                fix="export the model again",
            )
        every = softmax(values) if scores[0].kind == "logits" else values
        indices = np.argsort(-every, kind="stable")[:top]
        probabilities = every[indices]
    return tuple(
        Guess(index=int(index), label=labels[int(index)], probability=float(probability))
        for index, probability in zip(indices, probabilities, strict=True)
    )

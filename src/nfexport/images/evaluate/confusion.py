"""What each class is taken for, as one PNG. Needs matplotlib."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from nfexport.images.evaluate.evaluation import Evaluation
from nfexport.images.evaluate.predictions import NONE

NAMED = 40
"""Classes whose names can be read."""
LONGEST = 24
"""Letters of a name."""


def matrix(evaluation: Evaluation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which classes occur, as truth or as answer, and counts [truth, answer] of them.

    Pictures with a NaN among their scores have no answer, and count nowhere."""
    answered = evaluation.predicted != NONE
    pairs = np.stack([evaluation.truth[answered], evaluation.predicted[answered]])
    present, places = np.unique(pairs, return_inverse=True)
    rows, columns = places.reshape(2, -1)
    counts = np.zeros((len(present), len(present)), np.int64)
    np.add.at(counts, (rows, columns), 1)
    return present.astype(np.int64), counts


def png(evaluation: Evaluation) -> bytes:
    """Return the picture: each row is a class, and sums to 1. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    present, counts = matrix(evaluation)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the class's pictures", shrink=0.8)
    if len(present) <= NAMED:
        names = [_name(evaluation, int(index)) for index in present]
        axes.set_xticks(range(len(present)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(present)), names, fontsize=7)
    axes.set_xlabel("answer")
    axes.set_ylabel("class")
    score = evaluation.score
    axes.set_title(
        f"{evaluation.model_name}: top-1 {score.top1:.2f} % of {evaluation.pictures:,} pictures", fontsize=10
    )
    buffer = io.BytesIO()
    # no date or version inside: the same evaluation gives the same bytes
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _name(evaluation: Evaluation, index: int) -> str:
    # a dollar sign would start a formula
    name = evaluation.class_names[index] if evaluation.class_names is not None else str(index)
    return (name if len(name) <= LONGEST else name[: LONGEST - 1] + "…").replace("$", r"\$")

"""The confusion matrix of an evaluation, as a PNG. Needs matplotlib."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from nfexport.images.evaluate.evaluation import Evaluation
from nfexport.images.evaluate.predictions import NO_CLASS

MAX_NAMES = 40
"""The largest number of classes whose names are drawn."""
MAX_LETTERS = 24
"""The length at which a name is cut off."""


def matrix(evaluation: Evaluation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the classes that occur, as truth or prediction, and the counts [truth, prediction] of them.

    Images with a NaN among their scores have no prediction, and are not counted."""
    valid = evaluation.predicted != NO_CLASS
    pairs = np.stack([evaluation.truth[valid], evaluation.predicted[valid]])
    present, positions = np.unique(pairs, return_inverse=True)
    rows, columns = positions.reshape(2, -1)
    counts = np.zeros((len(present), len(present)), np.int64)
    np.add.at(counts, (rows, columns), 1)
    return present.astype(np.int64), counts


def png(evaluation: Evaluation) -> bytes:
    """Return the matrix as a PNG, each row normalised to sum to 1. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    present, counts = matrix(evaluation)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(drawn, ax=axes, label="share of the images of the class", shrink=0.8)
    if len(present) <= MAX_NAMES:
        names = [_name(evaluation, int(index)) for index in present]
        axes.set_xticks(range(len(present)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(present)), names, fontsize=7)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    score = evaluation.score
    axes.set_title(f"{evaluation.model_name}: top-1 {score.top1:.2f} % of {evaluation.images:,} images", fontsize=10)
    buffer = io.BytesIO()
    # without a date or a version inside, the same evaluation gives the same bytes
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _name(evaluation: Evaluation, index: int) -> str:
    # matplotlib reads what stands between dollar signs as a formula
    name = evaluation.class_names[index] if evaluation.class_names is not None else str(index)
    return (name if len(name) <= MAX_LETTERS else name[: MAX_LETTERS - 1] + "…").replace("$", r"\$")

"""The error by depth, its spread, and the worst images, as one PNG. Needs matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.diagnosis.diagnosis import Diagnosis
from nfexport.verification.diagnosis.step_matches import DIFFERS, SAME

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RIGHT, WRONG, OTHER = "#2a6f97", "#c1121f", "#adb5bd"
CEILING = 1e9
"""Errors above this one are drawn at it: NaN, infinity, another shape."""

SHOWN = 4
"""Images that are drawn, the worst ones."""


def png(diagnosis: Diagnosis) -> bytes:
    """Return the plot. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2 + SHOWN, height_ratios=(3, 2))
    _by_depth(figure.add_subplot(grid[0, :]), diagnosis)
    _spread(figure.add_subplot(grid[1, :2]), diagnosis.errors)
    worst = np.argsort(-diagnosis.excess)[:SHOWN]
    for place, index in enumerate(worst):
        axes = figure.add_subplot(grid[1, 2 + place])
        axes.imshow(_visible(diagnosis.images[index]))
        axes.set_title(f"entry {index}\n{diagnosis.excess[index]:.3g}× allowed", fontsize=8)
        axes.axis("off")
    buffer = io.BytesIO()
    # no date or version inside: the same diagnosis gives the same bytes
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _by_depth(axes: Axes, diagnosis: Diagnosis) -> None:
    entries = diagnosis.bisection.tensors
    position = np.array([entry.position for entry in entries])
    excess = np.array([min(entry.match.excess, CEILING) for entry in entries])
    excess = np.maximum(excess, 1e-4)
    known = np.array([entry.match.how != DIFFERS for entry in entries], dtype=bool)
    passing = np.array([entry.match.how != SAME and entry.reached for entry in entries], dtype=bool)
    for chosen, colour, label in (
        (known, RIGHT, "a step of the model"),
        (~known & passing, OTHER, "inside a formula of the runtime"),
        (~known & ~passing, WRONG, "not the model's"),
    ):
        if chosen.any():
            axes.scatter(position[chosen], excess[chosen], s=14, c=colour, label=label)
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--", label="what is allowed")
    culprit = diagnosis.bisection.culprit
    if culprit is not None:
        axes.axvline(culprit.position, color=WRONG, linewidth=0.8)
        axes.set_title(f"first at fault: {culprit.node}", fontsize=10)
    axes.set_yscale("log")
    axes.set_xlabel("node, in the file's order")
    axes.set_ylabel("error / allowed")
    axes.legend(fontsize=8, loc="best")


def _spread(axes: Axes, errors: NDArray[np.float64]) -> None:
    finite = errors[np.isfinite(errors)]
    logarithms = np.log10(np.maximum(finite, 1e-4))
    axes.hist(logarithms, bins=40, color=RIGHT)
    axes.axvline(np.log10(5), color="black", linewidth=0.8, linestyle="--")
    axes.set_xlabel("log₁₀ of the output's errors / what float32 costs PyTorch", fontsize=8)
    axes.set_ylabel("elements")


def _visible(image: NDArray[Any]) -> NDArray[Any]:
    """Return [height, width, 3] in [0, 1] of an image as a network receives it."""
    spread = float(np.ptp(image)) or 1.0
    shown = np.resize(image, (3, *image.shape[1:])) if image.shape[0] != 3 else image
    return np.asarray((shown - image.min()) / spread).transpose(1, 2, 0)

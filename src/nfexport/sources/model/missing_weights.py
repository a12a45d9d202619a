"""Weights that a recipe does not hold, and a user has to bring again."""

from __future__ import annotations

from nfexport.errors import WeightsUnreachable

FOLDER = "local-dir:"
"""What the names of models from a folder begin with."""


def missing_weights(model: str, what: str = "the file") -> WeightsUnreachable:
    """Return the error for what was exported from a checkpoint, or from a folder, and names only its model."""
    if model.startswith(FOLDER):
        folder = model.removeprefix(FOLDER)
        return WeightsUnreachable(
            f"{what} was exported from the folder '{folder}', which is not here", fix="pass it with --checkpoint DIR"
        )
    return WeightsUnreachable(
        f"{what} was exported from a checkpoint of {model}, which is not here", fix="pass it with --checkpoint FILE"
    )

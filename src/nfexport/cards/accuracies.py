"""Read an accuracy from what `nfexport evaluate --json` printed."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from nfexport.errors import InputError
from nfexport.recipe.about import Accuracy

FIX = "pass what 'nfexport evaluate FILE … --json' printed"


def read_accuracy(path: Path, *, recipe_digest: str | None) -> Accuracy:
    """Return the accuracy in the first runtime of an evaluation; its data set is named by its folder.

    recipe_digest is that of the file that the card describes, None if it has no recipe. Raises InputError if the
    evaluation is missing, not an evaluation, or that of another file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"the evaluation '{path}' cannot be read ({reason})", fix="check the path") from error
    except ValueError as error:
        raise InputError(f"the evaluation '{path}' is not JSON", fix=FIX) from error
    try:
        score = raw["runtimes"][0]
        accuracy = Accuracy(
            top1=_share(score["top1"]),
            top5=None if score["top5"] is None else _share(score["top5"]),
            dataset=PurePath(raw["data"]).name or None,
            images=int(raw["images"] if "images" in raw else raw["pictures"]),
            source=f"nfexport evaluate, {score['runtime']} {score['version']}",
        )
        measured = raw["recipe_sha256"]
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise InputError(f"the evaluation '{path}' has no accuracy in per cent", fix=FIX) from error
    if measured != recipe_digest:
        raise InputError(
            f"the evaluation '{path}' is that of a file with another recipe",
            fix="evaluate this file: nfexport evaluate FILE … --json",
        )
    return accuracy


def _share(value: Any) -> float:
    """Return a share in per cent, rounded as a file keeps it. Raises ValueError if it is not a share."""
    if isinstance(value, bool) or not 0 <= value <= 100:
        raise ValueError(value)
    return round(float(value), 4)

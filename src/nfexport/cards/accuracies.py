"""Read an accuracy from what `nfexport evaluate --json` printed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from nfexport.about import Accuracy
from nfexport.errors import InputError

FIX = "pass what 'nfexport evaluate FILE … --json' printed"


def read_accuracy(path: Path) -> Accuracy:
    """Return the accuracy in a JSON file: its entry 'accuracy', or the object itself.

    Raises InputError if it is missing, no JSON, or holds no top1 in per cent."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"the evaluation '{path}' cannot be read ({reason})", fix="check the path") from error
    except ValueError as error:
        raise InputError(f"the evaluation '{path}' is not JSON", fix=FIX) from error
    found = raw.get("accuracy", raw) if isinstance(raw, dict) else None
    if not isinstance(found, dict) or not all(_is_share(found.get(key)) for key in ("top1", "top5") if key in found):
        raise InputError(f"the evaluation '{path}' holds no accuracy in per cent", fix=FIX)
    if found.get("top1") is None:
        raise InputError(f"the evaluation '{path}' holds no 'top1'", fix=FIX)
    names = {field.name for field in dataclasses.fields(Accuracy)}
    return Accuracy(**{key: value for key, value in found.items() if key in names})


def _is_share(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100)

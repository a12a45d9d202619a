"""Values that arguments of a model may have: text, numbers, and lists of them, which a recipe can hold."""

from __future__ import annotations

import math
from typing import Any

_DEEPEST = 4


def is_plain(value: Any, depth: int = 0) -> bool:
    """Say whether a value is text, a finite number, True or False, or a list of such values."""
    if isinstance(value, list | tuple):
        return depth < _DEEPEST and all(is_plain(part, depth + 1) for part in value)
    if isinstance(value, int):  # bool is one
        return abs(value) < 2**62
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))

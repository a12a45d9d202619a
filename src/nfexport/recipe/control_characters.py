"""Characters that a terminal, or a reader of text, takes for an instruction: the inside of a class in a pattern.

Texts, since most modules that need them compile their pattern only when they have something to check.
"""

from __future__ import annotations

from typing import Final

_INVISIBLE: Final = r"\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Characters that change the direction of text, and surrogates, which are none."""

CONTROL: Final = rf"\x00-\x1f\x7f-\x9f\u2028\u2029{_INVISIBLE}"
"""What one line may not hold."""

CONTROL_IN_PROSE: Final = rf"\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}"
"""What text of several lines may not hold: tabs and newlines stay."""

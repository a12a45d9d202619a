"""What a user asks of int8, as one value."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from nfexport.errors import RecipeError

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")

OLDEST = 13
"""The opset at which DequantizeLinear learned a scale for each channel."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int8:
    """How a file shall be quantised: the options of nfexport.quantize, as it documents them."""

    calibrate: str | Path | int
    keep_float: tuple[str, ...] = ()
    keep_worst: int | None = None
    method: Method = "minmax"
    seed: int = 0

    def check(self, opset: int, *, fix: str = f"pass --opset {OLDEST}, or a later one") -> None:
        """Raise RecipeError for options that no file could be quantised with, or an opset that is too old."""
        if self.method not in METHODS:
            raise RecipeError(
                f"there is no method '{self.method}' of calibration", fix=f"use one of {', '.join(METHODS)}"
            )
        if self.keep_worst is not None and self.keep_worst < 0:
            raise RecipeError(f"{self.keep_worst} layers cannot be kept in float", fix="pass a number from 0 up")
        if opset < OLDEST:
            raise RecipeError(f"int8 with a scale for each channel needs opset {OLDEST}, not {opset}", fix=fix)

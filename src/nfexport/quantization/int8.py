"""The options of a quantisation, as one value."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

from nfexport.errors import RecipeError
from nfexport.recipe.quantize_step import Method
from nfexport.recipe.validation import check_strings

METHODS: tuple[Method, ...] = get_args(Method)

OLDEST = 13
"""The first opset whose DequantizeLinear takes a scale per channel."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int8:
    """How to quantise a file: the options of nfexport.quantize, which documents them."""

    calibrate: str | Path | int
    keep_float: tuple[str, ...] = ()
    keep_worst: int | None = None
    method: Method = "minmax"
    seed: int = 0

    def check(self, opset: int, *, fix: str = f"pass --opset {OLDEST}, or a later one") -> None:
        """Raise RecipeError for an unknown method, a negative number of layers, names of layers that no recipe may
        hold, or an opset that is too old."""
        check_strings(self.keep_float, "--keep-float", fix="use * for characters such as < > ` [ ]")
        if self.method not in METHODS:
            raise RecipeError(
                f"the calibration method '{self.method}' is unknown", fix=f"use one of {', '.join(METHODS)}"
            )
        if self.keep_worst is not None and self.keep_worst < 0:
            raise RecipeError(f"{self.keep_worst} layers cannot be kept in float", fix="pass a number from 0 up")
        if opset < OLDEST:
            raise RecipeError(f"int8 with a scale per channel needs opset {OLDEST} or later, not {opset}", fix=fix)

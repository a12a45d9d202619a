"""What the input of a file holds: the element type of a pixel, and its largest value."""

from __future__ import annotations

from typing import Literal

from nfexport.errors import RecipeError
from nfexport.passes.base import Request
from nfexport.recipe.statistics import BYTE

PixelType = Literal["uint8", "float32", "float16"]


def pixel_type(request: Request) -> PixelType:
    """Return the element type of the input that is asked for."""
    dtype: PixelType = request.get("input_dtype") or ("uint8" if request.get("resize") else "float32")
    return dtype


def pixel_range(request: Request) -> float:
    """Return the largest value of a pixel, 255 or 1.

    Raises RecipeError for another one, and for bytes between 0 and 1."""
    asked, dtype = request.get("input_range"), pixel_type(request)
    if asked not in (None, 1, BYTE):
        raise RecipeError(f"pixels cannot range from 0 to {asked:g}", fix="pass --input-range 255 or 1")
    if dtype == "uint8" and asked == 1:
        raise RecipeError(
            "uint8 pixels cannot range from 0 to 1", fix="pass --input-range 255, or another --input-dtype"
        )
    return float(asked or (BYTE if dtype == "uint8" else 1))

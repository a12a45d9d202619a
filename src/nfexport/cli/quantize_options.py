"""The options of int8, the same for export and quantize."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from nfexport.recipe.quantize_step import Method

if TYPE_CHECKING:
    from nfexport.quantization.int8 import Int8

Function = TypeVar("Function", bound=Callable[..., Any])


class ImagesType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5
    """Calibration images: a folder, or a number of seeded ones."""

    name = "DIR|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Path:
        """Return a number of images, or the path of a folder."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        return int(value) if value.isdecimal() else Path(value)


def quantize_options(function: Function) -> Function:
    """Add the options of int8; the command gets calibrate, keep_float, keep_worst and calibration_method."""
    options = [
        click.option(
            "--calibrate", type=ImagesType(), help="int8: a folder of images to calibrate with, or N seeded ones."
        ),
        click.option(
            "--keep-float",
            metavar="NAME",
            multiple=True,
            help="int8: a layer that stays in float; * matches any characters.",
        ),
        click.option(
            "--worst",
            "keep_worst",
            type=click.IntRange(min=0),
            metavar="K",
            help="int8: keep the K noisiest layers in float. [default: those with more than 1 % of noise]",
        ),
        click.option(
            "--calibration-method",
            type=click.Choice(get_args(Method)),
            help="int8: how a range is taken from the images. [default: minmax]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def take_int8_options(form: str | None, options: dict[str, Any]) -> Int8 | None:
    """Remove the options of int8 from those of an export, and return them as one value; None for a float file.

    Raises RecipeError for options of int8 without --quantize int8, and for int8 without images."""
    from nfexport.errors import RecipeError
    from nfexport.quantization.int8 import Int8

    given = {name: options.pop(name) for name in ("calibrate", "keep_float", "keep_worst", "calibration_method")}
    named = {name: value for name, value in given.items() if value not in (None, ())}
    words = {"keep_worst": "--worst"}
    if form is None:
        for name in named:
            raise RecipeError(
                f"{words.get(name, '--' + name.replace('_', '-'))} is for int8", fix="add --quantize int8"
            )
        return None
    if "calibrate" not in named:
        raise RecipeError(
            "int8 needs images to take the range of each tensor from",
            fix="pass --calibrate DIR, or N for seeded images",
        )
    if "calibration_method" in named:
        named["method"] = named.pop("calibration_method")
    return Int8(**named)

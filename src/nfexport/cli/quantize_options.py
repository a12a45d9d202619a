"""Options of int8: the same words at export and on a finished file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nfexport.quantization.int8 import Int8

Function = TypeVar("Function", bound=Callable[..., Any])

METHODS = ("minmax", "entropy", "percentile")


class PicturesType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5
    """Pictures to calibrate with: a folder, or a number of seeded ones."""

    name = "DIR|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Path:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        return int(value) if value.isdecimal() else Path(value)


def calibrating(function: Function) -> Function:
    """Add how a file is quantised; the command gets calibrate, keep_float, keep_worst and calibration_method."""
    options = [
        click.option("--calibrate", type=PicturesType(), help="int8: a folder of pictures, or N seeded ones."),
        click.option(
            "--keep-float", metavar="NAME", multiple=True, help="int8: a layer that stays in float; * is any text."
        ),
        click.option(
            "--worst",
            "keep_worst",
            type=click.IntRange(min=0),
            metavar="K",
            help="int8: so many layers with most noise stay in float. [default: those with over 1 % of noise]",
        ),
        click.option(
            "--calibration-method",
            type=click.Choice(METHODS),
            help="int8: how a range is taken from the pictures. [default: minmax]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def int8_asked(form: str | None, options: dict[str, Any]) -> Int8 | None:
    """Take what `calibrating` added out of the options of an export, and return what is asked of int8.

    Raises RecipeError for options of int8 where nobody asks for it, and for int8 without pictures."""
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
            "nothing shows how large the tensors get in int8", fix="pass --calibrate DIR, or N seeded pictures"
        )
    if "calibration_method" in named:
        named["method"] = named.pop("calibration_method")
    return Int8(**named)

"""The options that graph passes declare, by the keyword of each, and the values that they take."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from nfexport.errors import RecipeError, UnknownOption, did_you_mean
from nfexport.passes import registry
from nfexport.recipe.option import Command, Kind, Option
from nfexport.recipe.validation import Finite, Pixels

_TYPES: Mapping[Kind, Any] = {
    "flag": bool,
    "switch": bool,
    "choice": str,
    "integer": int,
    "number": Finite,
    "numbers": tuple[Finite, ...],
    "text": str,
    "names": tuple[str, ...],
    "pairs": dict[str, str],
    "values": dict[str, Any],
    # bounds are checked below: beside a tuple of fixed length in one union they crash msgspec 0.22
    "size": int | tuple[Pixels, Pixels] | str,
    "path": str,
}


def options(command: Command) -> dict[str, Option]:
    """Return the options of all passes that a command offers, by keyword, in the order of the passes."""
    return {
        option.keyword: option
        for cls in registry.all_passes()
        for option in cls.options
        if command in option.commands
    }


def validated(option: Option, value: Any) -> Any:
    """Return a value as an option takes it (lists become tuples).

    Raises RecipeError for another type, a word that is not among the choices, or a number below the minimum."""
    if option.multiple and isinstance(value, str):
        value = (value,)
    try:
        checked = msgspec.convert(value, _type_of(option), strict=True)
        if option.kind == "size" and isinstance(checked, int) and checked < 1:
            raise msgspec.ValidationError("Expected `int` >= 1")
    except msgspec.ValidationError as error:
        choices = f"one of {', '.join(option.choices)}" if option.choices else f"a value of the kind '{option.kind}'"
        raise RecipeError(
            f"{option.flag} cannot be {str(value)[:60]!r} ({str(error)[:1].lower()}{str(error)[1:]})",
            fix=f"pass {choices}",
        ) from error
    return checked


def unknown(keyword: str, known: Iterable[str], what: str) -> UnknownOption:
    """Return the error for a keyword that nothing declares, with the nearest ones that exist."""
    return UnknownOption(
        f"{what} has no option '{keyword[:60]}'",
        fix=did_you_mean(keyword, known) or "see 'nfexport export --help' for the options",
    )


@functools.cache
def _type_of(option: Option) -> Any:
    kind: Any = _TYPES[option.kind]
    if option.kind == "choice":
        kind = Literal[option.choices]
    elif option.kind == "size" and option.choices:
        kind = int | tuple[Pixels, Pixels] | Literal[option.choices]
    if option.minimum is not None:
        kind = Annotated[kind, msgspec.Meta(ge=option.minimum)]
    return tuple[kind, ...] if option.multiple and option.kind not in ("pairs", "values") else kind

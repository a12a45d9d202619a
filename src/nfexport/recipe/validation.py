"""Read typed values from untrusted text; the first fault is reported in one sentence.

Strings from a file are data. None of them reaches a program, a shell line, a path or a terminal with control
characters or markup in it, since such a text is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from nfexport.errors import RecipeError
from nfexport.recipe.control_characters import CONTROL, CONTROL_IN_PROSE

T = TypeVar("T")

DEEPEST = 32
"""Levels of nesting; a recipe needs eight."""

LONGEST = 10_000
"""Characters of one string."""

MOST = 1_000_000
"""Values in one document."""

UNSAFE = rf"[{CONTROL}<>`\[\]]"
"""Control characters, characters that change the direction of text, and those that markup is made of.

A text, since compiling it takes longer than importing the rest of this module."""

UNSAFE_PROSE = rf"[{CONTROL_IN_PROSE}<>]"
"""The same for text of several lines, such as a BibTeX entry."""

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""A sha256 in hexadecimal digits."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
Finite = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Above0 = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


def parse_json(text: str | bytes, what: str, *, prose: bool = False, fix: str = "export the model again") -> Any:
    """Return the plain values of a JSON text, whose strings hold neither control characters nor markup.

    Raises RecipeError, in the name of `what`, for anything else."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RecipeError(f"{what} is not JSON ({error})", fix=fix) from error
    except RecursionError:
        raise _too_deep(what) from None
    check_strings(raw, what, prose=prose)
    return raw


def parse_toml(text: str, what: str) -> Any:
    """Return the plain values of a TOML text; see parse_json."""
    try:
        raw = msgspec.toml.decode(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise RecipeError(f"{what} is not TOML ({error})", fix="correct that line") from error
    except RecursionError:
        raise _too_deep(what) from None
    check_strings(raw, what)
    return raw


def convert(raw: Any, kind: type[T], what: str, *, fix: str = "export the model again") -> T:
    """Return plain values as a value of a type (a msgspec.Struct, most often).

    Raises RecipeError, naming the field, for a wrong type, an unknown or missing field, or a value out of range."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{what} is not valid: {_lower(str(error))}", fix=fix) from error
    except RecursionError:
        raise _too_deep(what) from None


def check_strings(
    raw: Any, what: str, *, prose: bool = False, fix: str = "do not trust the file; export the model again"
) -> None:
    """Raise RecipeError if a string among plain values, keys included, holds control characters or markup, or if the
    values are nested too deeply or too many."""
    unsafe = re.compile(UNSAFE_PROSE if prose else UNSAFE)
    pending: list[tuple[Any, int]] = [(raw, 0)]
    count = 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > DEEPEST:
            raise _too_deep(what)
        if count > MOST:
            raise RecipeError(f"{what} holds more than {MOST:,} values", fix="export the model again")
        if isinstance(value, str):
            if len(value) > LONGEST or unsafe.search(value):
                raise RecipeError(
                    f"{what} holds a string with control characters or markup, or of more than {LONGEST:,} "
                    f"characters ({printable(value)})",
                    fix=fix,
                )
        elif isinstance(value, Mapping):
            pending += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list | tuple):
            pending += [(part, depth + 1) for part in value]


def printable(text: str, longest: int = 60) -> str:
    """Return a string from a file as a message can show it: shortened, in quotes, with ? for what is unsafe."""
    return f"'{re.sub(UNSAFE, '?', text[:longest])}{'…' if len(text) > longest else ''}'"


def read_text(path: Path) -> str:
    """Return the text of a recipe file. Raises RecipeError if it cannot be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"there is no file '{path}'", fix="check the path of the recipe") from None
    except OSError as error:
        raise RecipeError(f"'{path}' cannot be read ({error.strerror})", fix="check its permissions") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"'{path}' is not text in UTF-8", fix="pass a .toml, .json or .onnx file") from error


def _too_deep(what: str) -> RecipeError:
    return RecipeError(f"{what} is nested more than {DEEPEST} levels deep", fix="export the model again")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]

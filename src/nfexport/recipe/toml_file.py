"""Read a TOML file as a value of a type; a mistake is named by its file, line and key.

msgspec checks the values against the type, a Struct that forbids unknown fields, and tomllib reads the text. Neither
keeps line numbers, so a scan of the text finds the line of each key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nfexport.errors import NfexportError

T = TypeVar("T")
Key = str | int
"""Of a table, or the position in an array, counted from 0."""

WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "date": "a date",
    "datetime": "a date with a time",
}
"""What msgspec calls the types of TOML, in words."""

PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
DOTTED = rf"{PART}(?:\s*\.\s*{PART})*"
HEAD = re.compile(rf"\s*(\[\[?)\s*({DOTTED})\s*\]")
ENTRY = re.compile(rf"\s*({DOTTED})\s*=")
QUOTES = re.compile("\"\"\"|'''")
FIELD = re.compile(r"field `(.*?)`")
PLACE = re.compile(r" - at `(?:key in )?\$(.*?)`$")


class TomlFile:
    """The text of a file and the values in it; refuse is the class of its errors, keys says where keys are listed."""

    def __init__(self, path: Path, *, refuse: type[NfexportError], keys: str) -> None:
        self.path = path
        self._refuse = refuse
        self._keys = keys
        try:
            text = path.read_text(encoding="utf-8")
            self.values: Any = msgspec.toml.decode(text)
        except OSError as error:
            raise refuse(f"'{path}' cannot be read ({error.strerror})", fix="check the path") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refuse(f"'{path}' is not TOML ({error})", fix="correct that line") from error
        self._lines = list(_lines(text))

    def value(self, kind: type[T]) -> T:
        """Return the values as a value of a type. Raises the file's error for the first that does not fit."""
        try:
            return msgspec.convert(self.values, kind, strict=True, dec_hook=_own_type)
        except msgspec.ValidationError as error:
            problem, _, _ = str(error).partition(" - at `")
            found = PLACE.search(str(error))
            place = _parts(found[1]) if found else []
            raise self._explained(problem, place, kind) from error

    def wrong(self, place: Sequence[Key], problem: str, fix: str) -> NfexportError:
        """Return the error for a key, named by its line."""
        return self._refuse(f"'{self.path}'{self._line(place)}{_named(place)}: {problem}", fix=fix)

    def _line(self, place: Sequence[Key]) -> str:
        """Name the first line of a key, or of the nearest table around it."""
        for end in range(len(place), 0, -1):
            if lines := [line for key, line in self._lines if key[:end] == tuple(place[:end])]:
                return f", line {lines[0]}"
        return ""

    def _explained(self, problem: str, place: list[Key], kind: type[Any]) -> NfexportError:
        """Return msgspec's error in our words."""
        field = FIELD.search(problem)
        known = _type_at(place, kind)
        if problem.startswith("Object contains unknown") and field:
            return self.wrong([*place, field[1]], "the key is unknown", f"use one of {', '.join(_fields(known))}")
        if problem.startswith("Object missing required") and field:
            return self.wrong(place, f"the key '{field[1]}' is missing", "add it")
        if problem.startswith("Invalid enum value"):
            given = problem.removeprefix("Invalid enum value ")
            return self.wrong(place, f"{given} is unknown", f"use one of {', '.join(_choices(known))}")
        if problem.startswith("Expected"):
            wanted, _, given = problem.removeprefix("Expected ").partition(", got ")
            wanted = wanted.replace(r"matching regex '\\S'", "that is not blank")
            problem = f"it has to be {_in_words(wanted)}" + (f", not {_in_words(given)}" if given else "")
        return self.wrong(place, problem, self._keys)


def _lines(text: str) -> Iterator[tuple[tuple[Key, ...], int]]:
    """Yield the path of each table and key, and the number of its line, counted from 1."""
    table: tuple[Key, ...] = ()
    counts: dict[tuple[Key, ...], int] = {}
    inside = ""  # the quotes of a text of several lines
    for number, line in enumerate(text.splitlines(), 1):
        if not inside and not line.lstrip().startswith("#"):
            if found := HEAD.match(line):
                table = tuple(_names(found[2]))
                if found[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                yield table, number
            elif found := ENTRY.match(line):
                yield (*table, *_names(found[1])), number
        for quotes in QUOTES.findall(line):
            if not inside or inside == quotes:
                inside = "" if inside else quotes


def _names(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(PART, dotted)]


def _parts(path: str) -> list[Key]:
    """Return msgspec's path ('.rules[2].effect', '.names[...]') as keys, as far as it names them."""
    parts: list[Key] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            break
        parts.append(name or int(index))
    return parts


def _named(place: Sequence[Key]) -> str:
    """Return the key as a person counts: 'rules[1].effect' is in the first of the rules."""
    words = "".join(f"[{key + 1}]" if isinstance(key, int) else f".{key}" for key in place)
    return f", key '{words.lstrip('.')}'" if place else ""


def _type_at(place: Sequence[Key], kind: Any) -> Any:
    """Return msgspec's description of the type at a place, None where it cannot tell."""
    known: Any = msgspec.inspect.type_info(kind)
    for key in place:
        parts = _alternatives(known)
        if isinstance(key, str):
            types = [field.type for part in parts for field in getattr(part, "fields", ()) if field.name == key]
        else:
            types = [part.item_type for part in parts if hasattr(part, "item_type")]
        if not types:
            return None
        known = types[0]
    return known


def _alternatives(known: Any) -> Sequence[Any]:
    return known.types if isinstance(known, msgspec.inspect.UnionType) else (known,)


def _fields(known: Any) -> list[str]:
    return [field.name for part in _alternatives(known) for field in getattr(part, "fields", ())]


def _choices(known: Any) -> list[str]:
    return [str(value) for part in _alternatives(known) for value in getattr(part, "values", ())]


def _in_words(types: str) -> str:
    """Return msgspec's '`int | null`' in words."""

    def words(found: re.Match[str]) -> str:
        names = [name for name in found[1].split(" | ") if name != "null"]
        return " or ".join(WORDS.get(name, name) for name in names)

    return re.sub(r"`(.*?)`", words, types)


def _own_type(kind: type, value: Any) -> Any:
    """Return a path as the file has it."""
    if kind is Path and isinstance(value, str) and value.strip():
        return Path(value)
    raise ValueError("it has to be the name of a file")

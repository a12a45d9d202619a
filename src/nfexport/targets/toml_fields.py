"""Take the fields of a TOML table one by one, and refuse what is left: a key that nobody reads is a mistake."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from nfexport.errors import NfexportError

Kind = TypeVar("Kind")

WORDS: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    datetime.date: "a date",
}


class Fields:
    """One table of the file; `where` is its name for messages, such as 'rules[3]', empty for the whole file."""

    def __init__(self, file: str, where: str, values: Mapping[str, Any]) -> None:
        self._file = file
        self._where = where
        self._left = dict(values)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def required(self, key: str, kind: type[Kind]) -> Kind:
        """Return a value that has to be there. Raises NfexportError if it is not, or is of another kind."""
        if key not in self._left:
            raise self.wrong(key, "is missing")
        return self._typed(key, kind)

    def optional(self, key: str, kind: type[Kind]) -> Kind | None:
        """Return a value or None. Raises NfexportError if it is of another kind."""
        return self._typed(key, kind) if key in self._left else None

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, () if the key is not there. Raises NfexportError for anything else."""
        values = self.optional(key, list) or []
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "holds something other than strings")
        return tuple(values)

    def mapping(self, key: str, kind: type[Kind]) -> dict[str, Kind]:
        """Return a table whose values are all of one kind, {} if the key is not there."""
        part = self.part(key)
        return {name: part._typed(name, kind) for name in list(part._left)}

    def lists(self, key: str) -> dict[str, tuple[Any, ...]]:
        """Return a table of lists, {} if the key is not there."""
        return {name: tuple(values) for name, values in self.mapping(key, list).items()}

    def part(self, key: str) -> Fields:
        """Return a table within, empty if it is not there."""
        return Fields(self._file, self._path(key), self.optional(key, dict) or {})

    def parts(self, key: str) -> list[Fields]:
        """Return the tables of a list, [] if it is not there."""
        values = self.optional(key, list) or []
        if not all(isinstance(value, dict) for value in values):
            raise self.wrong(key, "holds something other than tables")
        return [Fields(self._file, f"{self._path(key)}[{n}]", value) for n, value in enumerate(values, start=1)]

    def finish(self) -> None:
        """Raise NfexportError if a key is left that nobody has read."""
        for key in self._left:
            raise self.wrong(key, "is none of the keys that a target's table has")

    def wrong(self, key: str, what: str) -> NfexportError:
        """Return the error for a key of this table."""
        return NfexportError(f"'{self._file}': '{self._path(key)}' {what}", fix="docs/targets.md lists the keys")

    def _typed(self, key: str, kind: type[Kind]) -> Kind:
        value = self._left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise self.wrong(key, f"has to be {WORDS.get(kind, kind.__name__)}")
        return value

    def _path(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

"""Results as JSON lines: one record a measurement, appended when it is done, so that a stopped run can go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Key = tuple[Any, ...]

KEY = ("kind", "model", "tool", "round")
"""The fields that say which measurement a record holds; of two records of one measurement the later counts."""


class Records:
    """The records of a file, in the order in which they were made."""

    def __init__(self, path: Path, key: Sequence[str] = KEY) -> None:
        self.path, self._key = path, tuple(key)
        self._records: dict[Key, Record] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                # a run that was killed while writing leaves half a line behind
                if line.endswith("}"):
                    self._keep(json.loads(line))

    def add(self, record: Record) -> None:
        """Append one record to the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._keep(record)

    def done(self, **key: Any) -> bool:
        """Say whether this measurement was made."""
        return self._key_of(key) in self._records

    def select(self, **fields: Any) -> list[Record]:
        """Return the records with these values."""
        return [
            record
            for record in self._records.values()
            if all(record.get(name) == value for name, value in fields.items())
        ]

    def _keep(self, record: Record) -> None:
        self._records[self._key_of(record)] = record

    def _key_of(self, record: Record) -> Key:
        return tuple(record.get(name) for name in self._key)

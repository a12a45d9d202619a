"""The results so far, on disk, so that an interrupted evaluation can be continued.

JSON, one object per line. The first line says what is evaluated; each further line is a batch, in order:

    {"batch": 0, "read": [0, 1], "top": {"onnxruntime": [[7, 2, …], …]}, "difference": {}, "skipped": []}

A last line that is not complete is left by an interruption, and dropped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from nfexport.errors import InputError, OutputError
from nfexport.images.evaluate.batches import BatchRecord

FORMAT = 2
READABLE = (1, FORMAT)
"""Format 1 called the number of images in its first line 'pictures'."""
OTHER = "name another file with --resume, or remove this one to start again"
WORDS = {
    "model_sha256": "model file",
    "data_sha256": "list of images and classes",
    "batch": "batch size",
    "runtimes": "list of runtimes and versions",
    "transform": "transform",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the results of an evaluation depend on; runtimes maps names to versions."""

    model_sha256: str
    data_sha256: str
    images: int
    batch: int
    runtimes: Mapping[str, str]
    transform: str

    def to_line(self) -> bytes:
        """Return the first line of the journal."""
        return _line({"nfexport": "evaluation", "format": FORMAT, **dataclasses.asdict(self)})


class Journal:
    """A journal to which batches are added; use it in a with block.

    batches is the number of batches that it has; known is called with each of them when it is opened. Raises
    InputError if the file is not a journal, is of another evaluation, or is damaged, OutputError if it cannot be
    written."""

    def __init__(self, path: Path, header: Header, known: Callable[[BatchRecord], None]) -> None:
        self.path = path
        self.batches = 0
        try:
            content = path.read_bytes() if path.exists() else b""
            complete = self._read(content, header, known)
            self._file: BinaryIO = path.open("r+b" if path.exists() else "xb")
            self._file.truncate(complete)
            self._file.seek(complete)
            if complete == 0:
                self._write(header.to_line())
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, record: BatchRecord) -> None:
        """Append a batch, which is kept even if the process is killed. Raises OutputError."""
        try:
            self._write(_line(dataclasses.asdict(record)))
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"the journal '{self.path}' cannot be written ({error.strerror or error})",
            fix="name another file with --resume",
        )

    def _read(self, content: bytes, header: Header, known: Callable[[BatchRecord], None]) -> int:
        """Read the records, and return the length of what is complete, in bytes."""
        if header.to_line().startswith(content):
            return len(content) if content == header.to_line() else 0
        first, end, _ = content.partition(b"\n")
        self._check_header(first if end else b"", header)
        complete = len(first) + 1
        for line in content[complete:].splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                record = BatchRecord(**json.loads(line))
                self._check(record, header)
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"the journal '{self.path}' is damaged in line {self.batches + 2}", fix=OTHER
                ) from error
            self.batches += 1
            known(record)
            complete += len(line)
        return complete

    def _check_header(self, line: bytes, header: Header) -> None:
        try:
            found: Any = json.loads(line)
            is_journal = found["nfexport"] == "evaluation" and found["format"] in READABLE
        except (ValueError, TypeError, KeyError):
            is_journal = False
        if not is_journal:
            raise InputError(f"'{self.path}' is not a journal of an evaluation", fix=OTHER)
        wanted = json.loads(header.to_line())
        others = [words for key, words in WORDS.items() if found.get(key) != wanted[key]]
        if others:
            raise InputError(
                f"the journal '{self.path}' is of another evaluation, with another {' and another '.join(others)}",
                fix=OTHER,
            )

    def _check(self, record: BatchRecord, header: Header) -> None:
        start = record.batch * header.batch
        expected = set(range(start, min(start + header.batch, header.images)))
        listed = [*record.read, *(index for index, _ in record.skipped)]
        aligned = all(len(top) == len(record.read) for top in record.top.values())
        if record.batch != self.batches or set(listed) != expected or len(listed) != len(expected) or not aligned:
            raise ValueError("not the next batch")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"

"""What is known so far, on disk: so that an evaluation that was interrupted can go on.

JSON, one object a line. The first line says what is evaluated; each further line is a batch, in order:

    {"batch": 0, "read": [0, 1], "top": {"onnxruntime": [[7, 2, …], …]}, "difference": {}, "skipped": []}

A last line without its end is what an interruption leaves, and is dropped.
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

FORMAT = 1
OTHER = "name another file with --resume, or remove this one to start anew"
WORDS = {
    "model_sha256": "model file",
    "data_sha256": "list of pictures and classes",
    "batch": "batch size",
    "runtimes": "list of runtimes and versions",
    "transform": "transform",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What an evaluation's results depend on; runtimes maps names to versions."""

    model_sha256: str
    data_sha256: str
    pictures: int
    batch: int
    runtimes: Mapping[str, str]
    transform: str

    def to_line(self) -> bytes:
        """Return the first line of the journal."""
        return _line({"nfexport": "evaluation", "format": FORMAT, **dataclasses.asdict(self)})


class Journal:
    """A journal open for more batches; batches is how many it has, each of which known was shown first.

    Use it in a with block. Raises InputError if the file is no journal, one of another evaluation, or
    damaged, and OutputError if it cannot be written."""

    def __init__(self, path: Path, header: Header, known: Callable[[BatchRecord], None]) -> None:
        self.path = path
        self.batches = 0
        try:
            content = path.read_bytes() if path.exists() else b""
            good = self._read(content, header, known)
            self._file: BinaryIO = path.open("r+b" if path.exists() else "xb")
            self._file.truncate(good)
            self._file.seek(good)
            if good == 0:
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
        """Append a batch; it is kept also if the process ends in the next moment."""
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
        """Read the records and return how many bytes of the file are good."""
        if header.to_line().startswith(content):
            return len(content) if content == header.to_line() else 0
        first, end, _ = content.partition(b"\n")
        self._check_header(first if end else b"", header)
        good = len(first) + 1
        for line in content[good:].splitlines(keepends=True):
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
            good += len(line)
        return good

    def _check_header(self, line: bytes, header: Header) -> None:
        try:
            found: Any = json.loads(line)
            is_journal = found["nfexport"] == "evaluation" and found["format"] == FORMAT
        except (ValueError, TypeError, KeyError):
            is_journal = False
        if not is_journal:
            raise InputError(f"'{self.path}' is no journal of an evaluation", fix=OTHER)
        wanted = json.loads(header.to_line())
        others = [words for key, words in WORDS.items() if found.get(key) != wanted[key]]
        if others:
            raise InputError(
                f"the journal '{self.path}' is of another evaluation, with another {' and another '.join(others)}",
                fix=OTHER,
            )

    def _check(self, record: BatchRecord, header: Header) -> None:
        start = record.batch * header.batch
        places = set(range(start, min(start + header.batch, header.pictures)))
        listed = [*record.read, *(place for place, _ in record.skipped)]
        complete = all(len(top) == len(record.read) for top in record.top.values())
        if record.batch != self.batches or set(listed) != places or len(listed) != len(places) or not complete:
            raise ValueError("not the next batch")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"

"""Write files whole or not at all: next to the target first, and under its name once everything is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nfexport.errors import OutputError

_PIECE = 2**22
"""Bytes that are copied at a time."""


def check_target(target: Path, *, option: str = "-o") -> None:
    """Raise OutputError if the target cannot be written, before any long work is done for it.

    option is the command-line option that names the target."""
    folder = target.parent
    if target.is_dir():
        raise OutputError(f"'{target}' is a folder", fix=f"name a file with {option}")
    if not folder.is_dir():
        raise OutputError(
            f"the folder '{folder}' does not exist", fix=f"create it, or name another file with {option}"
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder '{folder}' is not writable", fix=f"name another file with {option}")


@contextlib.contextmanager
def staged(target: Path, *, option: str = "-o") -> Iterator[Path]:
    """Yield a path next to the target; on success it takes the target's name, on any error it is removed.

    Raises OutputError if the disk is full or the folder cannot be written."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix=f"free some space, or name another file with {option}",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder next to the target; on success it takes the target's place, whole. On any error, an
    interrupt between the two renames included, it is removed, and what was there before stays.

    Raises OutputError if the disk is full or the folder around it cannot be written."""
    target = target.resolve()  # a link stays a link, and '.' has a name
    partial, former = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("partial", "former"))
    try:
        partial.mkdir()
        yield partial
        if target.exists():
            # a folder cannot be renamed onto another that holds something
            target.replace(former)
        partial.replace(target)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix="free some space, or name another folder with -o",
        ) from error
    finally:
        if former.exists() and not target.exists():
            former.replace(target)
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder next to the target, which is removed when the block ends.

    Raises OutputError, which names the target, if the disk is full or the folder around it cannot be written."""
    partial: Path | None = None
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial.d", dir=target.parent))
        yield partial
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix="free some space, or name another file with -o",
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def staged_files(targets: Sequence[Path]) -> Iterator[Path]:
    """Yield a new folder next to the targets, which share a folder; on success the files of their names in it replace
    the targets, in order, on any error they are removed.

    Raises OutputError if the disk is full or the folder cannot be written."""
    with temporary_folder(targets[0]) as partial:
        yield partial
        for target in targets:
            (partial / target.name).replace(target)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, given by their paths within a folder; folders in between are created."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextlib.contextmanager
def moved_aside(files: Sequence[Path], folder: Path) -> Iterator[None]:
    """Move the files that exist into a folder; on an error what replaced them is removed, and they come back."""
    former = folder / "former"
    former.mkdir()
    begun = False
    try:
        for file in files:
            if file.exists():
                file.replace(former / file.name)
        begun = True
        yield
    except BaseException:
        for file in files:
            if begun:
                file.unlink(missing_ok=True)
            if (former / file.name).exists():
                (former / file.name).replace(file)
        raise


def pieces_without(source: Path, left_out: Sequence[tuple[int, int]] = ()) -> Iterator[bytes]:
    """Yield the bytes of a file, without these ranges (start, end), which are sorted, a few at a time.

    Raises OSError if the file cannot be read to its end."""
    with source.open("rb") as file:
        for start, end in (*left_out, (source.stat().st_size, 0)):
            missing = start - file.tell()
            while missing > 0:
                piece = file.read(min(missing, _PIECE))
                if not piece:
                    raise OSError("the file became shorter while it was read")
                yield piece
                missing -= len(piece)
            file.seek(end)


def copy_without(source: Path, target: Path, left_out: Sequence[tuple[int, int]], tail: bytes) -> None:
    """Write the bytes of source without these ranges (start, end), which are sorted, and with a tail, in little
    memory."""
    with target.open("wb") as new:
        for piece in pieces_without(source, left_out):
            new.write(piece)
        new.write(tail)
        new.flush()
        os.fsync(new.fileno())
    shutil.copymode(source, target)

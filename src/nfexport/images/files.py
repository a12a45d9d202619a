"""Which pictures are meant: files, folders, patterns, and lists on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from nfexport.errors import ImageError
from nfexport.images.decoder import SUFFIXES

STDIN = "-"
CHUNK = 65536


def find_images(words: Iterable[str | Path], stdin: BinaryIO | None = None) -> Iterator[Path]:
    """Yield the pictures that the words name, in the order of the words.

    A word is a file of any suffix; a folder, of which every file with a suffix of SUFFIXES is meant, sorted
    by its path, subfolders included, names that begin with a dot left out; a pattern ('*.jpg', with '**' for
    folders in between), of which the files that match are meant, sorted; or '-' for a list on stdin, one path
    a line, or between NULs. Links to folders are not followed within a folder. Folders are read one at a
    time as the pictures are asked for, and so is the list.

    Raises ImageError at once for a word that names no picture; what a list names is not looked at."""
    words = tuple(words)
    for word in words:
        if not (stdin is not None and str(word) == STDIN) and next(_named_by(word), None) is None:
            raise ImageError(_nothing(word), fix="check the path")
    return _pictures(words, stdin)


def spelled(picture: Path) -> str:
    """Return a path as text that can be written anywhere: what is no UTF-8 in a name becomes '\\xe9'."""
    return os.fsencode(picture).decode("utf-8", "backslashreplace")


def listed(stream: BinaryIO) -> Iterator[Path]:
    """Yield the paths of a list as they arrive: between NULs, if the first path ends in one, else one a line."""
    read = getattr(stream, "read1", stream.read)  # read1 gives what a slow pipe has so far
    separator: bytes | None = None
    rest = b""
    while chunk := read(CHUNK):
        rest += chunk
        if separator is None:
            separator = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else None
        if separator is not None:
            *whole, rest = rest.split(separator)
            yield from _paths(whole, separator)
    yield from _paths([rest], separator)


def _paths(names: Iterable[bytes], separator: bytes | None) -> Iterator[Path]:
    for name in names:
        name = name if separator == b"\0" else name.rstrip(b"\r")
        if name:
            yield Path(os.fsdecode(name))


def _pictures(words: Iterable[str | Path], stdin: BinaryIO | None) -> Iterator[Path]:
    for word in words:
        yield from listed(stdin) if stdin is not None and str(word) == STDIN else _named_by(word)


def _named_by(word: str | Path) -> Iterator[Path]:
    path = Path(word)
    if path.is_dir():
        yield from _within(path)
    elif path.exists():
        yield path
    elif glob.has_magic(str(word)):
        found = glob.iglob(str(word), recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        yield from (file for file in sorted(map(Path, found)) if file.is_file())


def _within(folder: Path) -> Iterator[Path]:
    """Yield the pictures of a folder in the order of their paths, part by part."""
    with os.scandir(folder) as scan:
        entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan)
    for name, is_folder in entries:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _within(folder / name)
        elif Path(name).suffix.lower() in SUFFIXES and (folder / name).is_file():
            yield folder / name


def _nothing(word: str | Path) -> str:
    if Path(word).is_dir():
        return f"there is no picture in the folder '{word}'"
    if glob.has_magic(str(word)):
        return f"no file matches '{word}'"
    return f"there is no file or folder '{word}'"

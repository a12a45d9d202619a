"""Find images: files, folders, glob patterns, and lists on standard input."""

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
"""Bytes of a list that are read at once."""


def find_images(arguments: Iterable[str | Path], stdin: BinaryIO | None = None) -> Iterator[Path]:
    """Yield the images that the arguments name, in the order of the arguments.

    An argument is a file with any suffix; a folder, which stands for the files in it and in its subfolders with a
    suffix of SUFFIXES, sorted by path, without names that begin with a dot; a glob pattern ('*.jpg', '**' for any
    number of folders), which stands for the files that match, sorted; or '-' for a list on stdin, one path per line
    or NUL-separated. Links to folders inside a folder are not followed. Folders and the list are read lazily.

    Raises ImageError at once for an argument that names no image; the paths of a list are not checked."""
    arguments = tuple(arguments)
    for argument in arguments:
        if not (stdin is not None and str(argument) == STDIN) and next(_named_by(argument), None) is None:
            raise ImageError(_nothing(argument), fix="check the path")
    return _images(arguments, stdin)


def printable(path: Path) -> str:
    r"""Return a path as text that can be written anywhere: bytes that are not UTF-8 become '\xe9'."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def paths_listed(stream: BinaryIO) -> Iterator[Path]:
    """Yield the paths of a list as they arrive: NUL-separated if the first path ends in NUL, else one per line."""
    read = getattr(stream, "read1", stream.read)  # read1 returns what a slow pipe has so far
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


def _images(arguments: Iterable[str | Path], stdin: BinaryIO | None) -> Iterator[Path]:
    for argument in arguments:
        is_list = str(argument) == STDIN
        yield from paths_listed(stdin) if stdin is not None and is_list else _named_by(argument)


def _named_by(argument: str | Path) -> Iterator[Path]:
    path = Path(argument)
    if path.is_dir():
        yield from _within(path)
    elif path.exists():
        yield path
    elif glob.has_magic(str(argument)):
        found = glob.iglob(str(argument), recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        yield from (file for file in sorted(map(Path, found)) if file.is_file())


def _within(folder: Path) -> Iterator[Path]:
    """Yield the images of a folder in the order of their paths, compared part by part."""
    with os.scandir(folder) as scan:
        entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan)
    for name, is_folder in entries:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _within(folder / name)
        elif Path(name).suffix.lower() in SUFFIXES and (folder / name).is_file():
            yield folder / name


def _nothing(argument: str | Path) -> str:
    if Path(argument).is_dir():
        return f"there is no image in the folder '{argument}'"
    if glob.has_magic(str(argument)):
        return f"no file matches '{argument}'"
    return f"there is no file or folder '{argument}'"

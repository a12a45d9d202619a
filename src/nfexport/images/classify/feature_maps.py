"""The feature maps of pictures, one .npz file a picture, and a list of what is where.

DIR/<name of the picture>.npz   one float32 array [channels, height, width] an output, by its name
DIR/pictures.csv                the columns file and picture
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import OutputError
from nfexport.graph.atomic_files import staged
from nfexport.images.files import spelled

Add = Callable[[Path, Mapping[str, NDArray[Any]]], None]
OPTION = "--save-features"
LISTING = "pictures.csv"


def check_folder(folder: Path) -> None:
    """Make the folder. Raises OutputError if that fails, before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder '{folder}' cannot be made ({error.strerror or error})", fix=f"name another with {OPTION}"
        ) from error


@contextlib.contextmanager
def feature_maps(folder: Path, names: Sequence[str]) -> Iterator[Add]:
    """Yield what takes a picture and its outputs, of which those of these names are kept.

    Each picture has its own file at once; the list gets its name at the end. Raises OutputError if a file
    cannot be written."""
    taken: set[str] = set()
    with (
        staged(folder / LISTING, option=OPTION) as partial,
        partial.open("w", encoding="utf-8", newline="") as listing,
    ):
        rows = csv.writer(listing, lineterminator="\n")
        rows.writerow(["file", "picture"])

        def add(picture: Path, outputs: Mapping[str, NDArray[Any]]) -> None:
            place = _place(picture, taken)
            target = folder / place
            check_folder(target.parent)
            with staged(target, option=OPTION) as file, file.open("w+b") as stream:
                np.savez(stream, **{name: outputs[name] for name in names})  # type: ignore[arg-type]
            rows.writerow([spelled(Path(place)), spelled(picture)])

        yield add


def _place(picture: Path, taken: set[str]) -> str:
    """Return a name that no picture before has: its stem; its name; with more and more of its folders; with a
    number. Names that differ in case alone count as one."""
    parts = [part for part in picture.parts if part not in (picture.anchor, "..")]
    names = [picture.stem, *("/".join(parts[-n:]) for n in range(1, len(parts) + 1))]
    numbered = (f"{names[-1]}-{number}" for number in range(2, len(taken) + 3))
    name = next(name for name in (*names, *numbered) if name.casefold() not in taken)
    taken.add(name.casefold())
    return f"{name}.npz"

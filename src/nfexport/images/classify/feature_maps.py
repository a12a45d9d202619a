"""Write the feature maps of images, one .npz file per image, and a list of these files.

DIR/<name of the image>.npz   one float32 array [channels, height, width] per output, by the name of the output
DIR/images.csv                the columns file and image
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
from nfexport.images.files import printable

Add = Callable[[Path, Mapping[str, NDArray[Any]]], None]
OPTION = "--save-features"
LISTING = "images.csv"


def check_folder(folder: Path) -> None:
    """Create the folder. Raises OutputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder '{folder}' cannot be created ({error.strerror or error})", fix=f"name another with {OPTION}"
        ) from error


@contextlib.contextmanager
def feature_maps(folder: Path, names: Sequence[str]) -> Iterator[Add]:
    """Yield a function that writes the outputs with these names of an image.

    Each image's file is written at once, and the list when the block ends without an error. Raises OutputError if a
    file cannot be written."""
    taken: set[str] = set()
    with (
        staged(folder / LISTING, option=OPTION) as partial,
        partial.open("w", encoding="utf-8", newline="") as listing,
    ):
        rows = csv.writer(listing, lineterminator="\n")
        rows.writerow(["file", "image"])

        def add(image: Path, outputs: Mapping[str, NDArray[Any]]) -> None:
            name = _free_name(image, taken)
            target = folder / name
            check_folder(target.parent)
            with staged(target, option=OPTION) as file, file.open("w+b") as stream:
                np.savez(stream, **{key: outputs[key] for key in names})  # type: ignore[arg-type]
            rows.writerow([printable(Path(name)), printable(image)])

        yield add


def _free_name(image: Path, taken: set[str]) -> str:
    """Return a file name that is not taken, and take it.

    The first that is free of: the stem of the image; its name; its name with more and more of its folders; that with
    a number. Names that differ only in case count as equal."""
    parts = [part for part in image.parts if part not in (image.anchor, "..")]
    names = [image.stem, *("/".join(parts[-n:]) for n in range(1, len(parts) + 1))]
    numbered = (f"{names[-1]}-{number}" for number in range(2, len(taken) + 3))
    name = next(name for name in (*names, *numbered) if name.casefold() not in taken)
    taken.add(name.casefold())
    return f"{name}.npz"

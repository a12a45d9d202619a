"""Where things lie in a golden, and where goldens and their files lie on a disk.

NAME.golden/manifest.json
NAME.golden/test_data_set_0/input_0.pb, output_0.pb, …      as onnx.backend.test reads them
NAME.golden/model.onnx, data.json                           a copy of the file, so that its runners find it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nfexport.errors import GoldenError

SUFFIX = ".golden"
MANIFEST = "manifest.json"
MODEL = "model.onnx"
RUNNER = "data.json"
"""What onnx's loader reads the tolerance from."""

DATA_SET = "test_data_set_"


def default_folder(file: Path) -> Path:
    """Return the golden of a file: beside it, with another suffix."""
    return file.with_suffix(SUFFIX)


def foreign_entries(folder: Path) -> list[str]:
    """Return the names in a folder that are no part of a golden, sorted."""
    own = (MANIFEST, MODEL, RUNNER)
    return sorted(
        entry.name for entry in folder.iterdir() if entry.name not in own and not entry.name.startswith(DATA_SET)
    )


def find_goldens(root: Path) -> Iterator[Path]:
    """Yield every folder below root with a manifest next to a data set, sorted, root itself included.

    Raises GoldenError if there is no such folder, or no golden in it."""
    if not root.is_dir():
        raise GoldenError(f"the folder of goldens '{root}' does not exist", fix="check the path")
    folders = [manifest.parent for manifest in sorted(root.rglob(MANIFEST))]
    goldens = [folder for folder in folders if folder.suffix == SUFFIX or any(folder.glob(f"{DATA_SET}*"))]
    if not goldens:
        raise GoldenError(
            f"there is no golden below '{root}'", fix="record one with 'nfexport golden record', or check the path"
        )
    yield from goldens


def find_file(golden: Path, name: str, models: Path | None = None) -> Path:
    """Return the ONNX file that a golden is of: the one of that name, in models or beside the golden, else the
    copy in the golden.

    Raises GoldenError if there is none of them."""
    places = [(models or golden.parent) / name, golden / MODEL]
    for place in places:
        if place.is_file():
            return place
    raise GoldenError(
        f"there is neither '{places[0]}' nor '{places[1]}' to check against the golden",
        fix="build the file first, or say where the files are",
    )

"""The paths of the files in a golden, and of goldens and their ONNX files.

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
"""The file that onnx's loader reads the tolerance from."""

DATA_SET = "test_data_set_"


def default_folder(file: Path) -> Path:
    """Return the golden of a file: next to it, with the suffix '.golden'."""
    return file.with_suffix(SUFFIX)


def foreign_entries(folder: Path) -> list[str]:
    """Return the names in a folder that are not part of a golden, sorted."""
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
    """Return the ONNX file of a golden: the one of that name, in models or next to the golden, else the copy in it.

    Raises GoldenError if none of them exists."""
    places = [(models or golden.parent) / name, golden / MODEL]
    for place in places:
        if place.is_file():
            return place
    raise GoldenError(
        f"neither '{places[0]}' nor '{places[1]}' exists to check against the golden",
        fix="build the file first, or pass the folder of the files",
    )

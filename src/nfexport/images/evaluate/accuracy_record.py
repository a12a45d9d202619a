"""Record a measured accuracy in the metadata of a file, and compute a digest that does not depend on it.

Weights are neither loaded nor serialised again: the file is copied without its entry `nfexport.evaluation`, and a new
entry is appended, as protobuf allows entries of a repeated field anywhere in a message.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from nfexport.graph.atomic_files import copy_without, pieces_without, staged
from nfexport.graph.header import entries_of_metadata
from nfexport.recipe.about import EVALUATION_KEY, Accuracy, write_evaluation


def record_accuracy(path: Path, accuracy: Accuracy) -> None:
    """Replace the file by one with this accuracy; all else in it, the recipe included, stays as it is.

    Raises OutputError if it cannot be written."""
    path = path.resolve()  # keeps a link a link
    (value,) = write_evaluation(accuracy).values()
    model = onnx.ModelProto()
    model.metadata_props.add(key=EVALUATION_KEY, value=value)
    with staged(path, option="--record") as partial:
        copy_without(path, partial, _entries(path), model.SerializeToString())


def model_digest(path: Path, external: tuple[str, ...]) -> str:
    """Return the sha256 of the file, without its entry for the accuracy, and of its external data."""
    hashed = hashlib.sha256()
    for piece in pieces_without(path, _entries(path)):
        hashed.update(piece)
    for name in external:
        for piece in pieces_without(path.parent / name):
            hashed.update(piece)
    return hashed.hexdigest()


def _entries(path: Path) -> list[tuple[int, int]]:
    return [(start, end) for key, start, end in entries_of_metadata(path) if key == EVALUATION_KEY]

"""A list of pictures, each with the index of its class, from a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.images.decoder import SUFFIXES
from nfexport.images.evaluate.classes import Classes
from nfexport.images.evaluate.folders import class_indices
from nfexport.images.evaluate.truth import read_truth


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """pictures are paths below root with '/', in a fixed order; truth [pictures] int32 holds their classes.

    rule says in words how classes were found; left_out is the number of pictures in the folder that are not
    in the list: those that no line of a truth file names, or that a limit cuts off."""

    root: Path
    pictures: tuple[str, ...]
    truth: NDArray[np.int32]
    rule: str
    left_out: int = 0

    def limited(self, limit: int | None) -> DataSet:
        """Return at most so many of the pictures, spread evenly over the list, so over its classes."""
        count = len(self.pictures)
        if limit is None or limit >= count:
            return self
        chosen = [number * count // limit for number in range(limit)]
        return dataclasses.replace(
            self,
            pictures=tuple(self.pictures[index] for index in chosen),
            truth=self.truth[chosen],
            left_out=self.left_out + count - limit,
        )

    @property
    def digest(self) -> str:
        """The sha256 over path, size in bytes and class of each picture, in order."""
        hashed = hashlib.sha256()
        for name, index in zip(self.pictures, self.truth.tolist(), strict=True):
            try:
                size = (self.root / name).stat().st_size
            except OSError:
                size = -1  # it will be reported when it is read
            hashed.update(f"{name}\t{size}\t{index}\n".encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()


def open_dataset(
    root: Path, classes: Classes, *, truth: Path | None = None, truth_base: int | None = None
) -> DataSet:
    """List the pictures below root, with their classes from the folders, or from a truth file.

    Names that start with a dot are passed over; links are followed. truth_base is the number of the first
    class in the truth file, 0 or 1, None to find out. Raises InputError if the folder is missing, has no
    pictures or no classes, or if its classes are not those of the file."""
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise InputError(f"the data '{root}' {what}", fix="name a folder with a subfolder of pictures for each class")
    if truth is None:
        if truth_base is not None:
            raise InputError("--truth-base is for a truth file", fix="pass --truth FILE too")
        return _from_folders(root, classes)
    found = sorted(_walk(root, root))
    if not found:
        raise _no_pictures(root)
    answers, rule = read_truth(truth, found, classes, base=truth_base)
    named = [name for name in found if name in answers]
    return DataSet(
        root=root,
        pictures=tuple(named),
        truth=np.array([answers[name] for name in named], np.int32),
        rule=rule,
        left_out=len(found) - len(named),
    )


def _from_folders(root: Path, classes: Classes) -> DataSet:
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    contents = {name: sorted(_walk(root, root / name)) for name in folders}
    if not any(contents.values()):
        if folders or not any(_walk(root, root)):
            raise _no_pictures(root)
        raise InputError(
            f"'{root}' has pictures, but no folder for each class",
            fix="sort them into such folders, or pass their classes with --truth FILE",
        )
    indices, rule = class_indices(root, {name: bool(pictures) for name, pictures in contents.items()}, classes)
    pairs = [(picture, indices[name]) for name, pictures in contents.items() for picture in pictures]
    return DataSet(
        root=root,
        pictures=tuple(picture for picture, _ in pairs),
        truth=np.array([index for _, index in pairs], np.int32),
        rule=rule,
    )


def _walk(root: Path, folder: Path) -> Iterator[str]:
    for place, below, names in os.walk(folder, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        prefix = Path(place).relative_to(root)
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122 (50,000 of them)
                yield (prefix / name).as_posix()


def _no_pictures(root: Path) -> InputError:
    return InputError(
        f"there is no picture in '{root}'", fix=f"name a folder with {', '.join(sorted(SUFFIXES))} files in it"
    )

"""A list of the images in a folder, each with the index of its class."""

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
    """Images and their classes: images are paths relative to root with '/', truth [images] int32 their classes.

    rule says in words how classes were found; left_out is the number of images in the folder that are not listed,
    because the truth file does not name them, or because of a limit."""

    root: Path
    images: tuple[str, ...]
    truth: NDArray[np.int32]
    rule: str
    left_out: int = 0

    def limited(self, limit: int | None) -> DataSet:
        """Return at most limit of the images, spread evenly over the list, and so over its classes."""
        count = len(self.images)
        if limit is None or limit >= count:
            return self
        chosen = [number * count // limit for number in range(limit)]
        return dataclasses.replace(
            self,
            images=tuple(self.images[index] for index in chosen),
            truth=self.truth[chosen],
            left_out=self.left_out + count - limit,
        )

    @property
    def digest(self) -> str:
        """The sha256 of the path, size in bytes and class of each image, in order."""
        hashed = hashlib.sha256()
        for name, index in zip(self.images, self.truth.tolist(), strict=True):
            try:
                size = (self.root / name).stat().st_size
            except OSError:
                size = -1  # reported when the image is read
            hashed.update(f"{name}\t{size}\t{index}\n".encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()


def open_dataset(
    root: Path, classes: Classes, *, truth: Path | None = None, truth_base: int | None = None
) -> DataSet:
    """List the images below root, with their classes by their folders, or by a truth file.

    Names that start with a dot are ignored; links are followed. truth_base is the number of the first class in the
    truth file, 0 or 1, or None to find out. Raises InputError if the folder does not exist, or has no images, or if
    its classes are not those of the file."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"the data '{root}' {what}", fix="name a folder with a subfolder of images for each class")
    if truth is None:
        if truth_base is not None:
            raise InputError("--truth-base is for a truth file", fix="pass --truth FILE too")
        return _from_folders(root, classes)
    found = sorted(_walk(root, root))
    if not found:
        raise _no_images(root)
    answers, rule = read_truth(truth, found, classes, base=truth_base)
    named = [name for name in found if name in answers]
    return DataSet(
        root=root,
        images=tuple(named),
        truth=np.array([answers[name] for name in named], np.int32),
        rule=rule,
        left_out=len(found) - len(named),
    )


def _from_folders(root: Path, classes: Classes) -> DataSet:
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    contents = {name: sorted(_walk(root, root / name)) for name in folders}
    if not any(contents.values()):
        if folders or not any(_walk(root, root)):
            raise _no_images(root)
        raise InputError(
            f"'{root}' has images, but not in a folder for each class",
            fix="sort them into such folders, or pass their classes with --truth FILE",
        )
    indices, rule = class_indices(root, {name: bool(images) for name, images in contents.items()}, classes)
    pairs = [(image, indices[name]) for name, images in contents.items() for image in images]
    return DataSet(
        root=root,
        images=tuple(image for image, _ in pairs),
        truth=np.array([index for _, index in pairs], np.int32),
        rule=rule,
    )


def _walk(root: Path, folder: Path) -> Iterator[str]:
    for current, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(current).relative_to(root)
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122 (faster, for 50,000 names)
                yield (prefix / name).as_posix()


def _no_images(root: Path) -> InputError:
    return InputError(
        f"there is no image in '{root}'", fix=f"name a folder with {', '.join(sorted(SUFFIXES))} files in it"
    )

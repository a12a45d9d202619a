"""The pictures that show how large each tensor gets: a folder of one's own, or seeded ones."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.images.files import find_images
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.recipe.interface import front_steps, networks_part
from nfexport.recipe.recipe import Preprocessing, Recipe
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.input_cases import ORDER, draw

MOST = 512
"""Pictures taken of a folder, evenly spaced in the order of their paths: more change no range to speak of."""

FIRST = 100
"""Number of the first seeded picture: the verifier's have smaller ones, and are none of those calibrated with."""

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Pictures for a file: those of a folder by their paths, or `seeded` of the verifier's nine kinds in turn, the
    next nine of another size where the file takes any."""

    recipe: Recipe
    paths: tuple[Path, ...] = ()
    seeded: int = 0
    seed: int = 0

    @property
    def pictures(self) -> int:
        """How many there are."""
        return len(self.paths) or self.seeded

    def params(self) -> dict[str, Any]:
        """Return what a recipe keeps: how many, and which seed or the sha256 of the files' contents, in order."""
        if not self.paths:
            return {"source": "seeded", "pictures": self.seeded, "seed": self.seed}
        total = hashlib.sha256()
        for path in self.paths:
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return {"source": "folder", "pictures": len(self.paths), "sha256": total.hexdigest()}

    def batches(self) -> Iterator[Array]:
        """Yield the tensors for the file's input, of its fixed batch or of one picture each. A last batch that
        is not full repeats its last picture. Raises ImageError, which names the file."""
        size = 1 if self.recipe.batch == "dynamic" else self.recipe.batch
        singles = self._read() if self.paths else self._drawn()
        while batch := list(itertools.islice(singles, size)):
            yield np.concatenate(batch + batch[-1:] * (size - len(batch)))

    def _read(self) -> Iterator[Array]:
        form: Preprocessor = preprocessor_of(self.recipe)
        for path in self.paths:
            yield form.batch([form.read(path)])

    def _drawn(self) -> Iterator[Array]:
        form = served_form(self.recipe)
        sizes = form.source_sizes() or (self.recipe.image_size,)
        network = network_preprocessing(self.recipe)
        for index in range(self.seeded):
            picture = draw(
                ORDER[index % len(ORDER)],
                FIRST + index,
                seed=self.seed,
                shape=(self.recipe.in_channels, *sizes[index // len(ORDER) % len(sizes)]),
                preprocessing=network,
            )
            yield form.from_network(picture[None])


def calibration(recipe: Recipe, given: str | Path | int, *, seed: int = 0) -> Calibration:
    """Return the pictures for a file: of a folder, or as many seeded ones as the number says.

    Raises InputError for a number below 1, ImageError for a folder without pictures."""
    if isinstance(given, int):
        if given < 1:
            raise InputError(
                f"{given} pictures show no range", fix="pass --calibrate N with N from 1 up, or a folder"
            )
        return Calibration(recipe=recipe, seeded=given, seed=seed)
    paths = list(find_images([given]))
    step = max(1, -(-len(paths) // MOST))
    return Calibration(recipe=recipe, paths=tuple(paths[::step]))


def served_form(recipe: Recipe) -> FilePreprocessing:
    """Return what the file does to a picture before its network."""
    return FilePreprocessing(steps=front_steps(recipe), image_size=recipe.image_size)


def network_preprocessing(recipe: Recipe) -> Preprocessing:
    """Return what the network itself wants of a picture."""
    return networks_part(recipe.preprocessing, front_steps(recipe))

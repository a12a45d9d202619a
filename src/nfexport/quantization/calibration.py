"""Calibration images, from which the range of each tensor is taken: a folder of images, or seeded ones."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.images.files import find_images
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.recipe.interface import front_steps, network_preprocessing
from nfexport.recipe.quantize_step import CalibrationRecord
from nfexport.recipe.recipe import Recipe
from nfexport.recipe.tensor_spec import BATCH
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.input_cases import ORDER, draw
from nfexport.verification.tensor_cases import draw_tensor

MOST = 512
"""Images used of a folder, evenly spaced in the order of their paths: more hardly change a range."""

FIRST = 100
"""Number of the first seeded image: those of the verifier have smaller numbers, so none is used for calibration."""

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration images of a file: those at `paths`, or `seeded` images of the verifier's nine kinds in turn, the
    next nine of another size if the file accepts any."""

    recipe: Recipe
    paths: tuple[Path, ...] = ()
    seeded: int = 0
    seed: int = 0

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.paths) or self.seeded

    def record(self) -> CalibrationRecord:
        """Return what the recipe records: the number of images, and the seed or the sha256 of the files' contents."""
        if not self.paths:
            return CalibrationRecord(source="seeded", images=self.seeded, seed=self.seed)
        total = hashlib.sha256()
        for path in self.paths:
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return CalibrationRecord(source="folder", images=len(self.paths), sha256=total.hexdigest())

    def batches(self) -> Iterator[Mapping[str, Array]]:
        """Yield tensors for the inputs of the file by name, of its fixed batch size or of one image each.

        The last batch repeats its last image until it is full. Raises ImageError, which names the image file."""
        if self.recipe.tensors:
            yield from self._drawn_tensors()
            return
        size = 1 if self.recipe.batch == "dynamic" else self.recipe.batch
        singles = self._read() if self.paths else self._drawn()
        while batch := list(itertools.islice(singles, size)):
            yield {self.recipe.input_name: np.concatenate(batch + batch[-1:] * (size - len(batch)))}

    def _drawn_tensors(self) -> Iterator[Mapping[str, Array]]:
        specs = self.recipe.tensors
        for number in range(FIRST, FIRST + self.seeded):
            yield {spec.name: draw_tensor(spec, spec.at({BATCH: 1}), seed=self.seed, number=number) for spec in specs}

    def _read(self) -> Iterator[Array]:
        preprocessor: Preprocessor = preprocessor_of(self.recipe)
        for path in self.paths:
            yield preprocessor.batch([preprocessor.read(path)])

    def _drawn(self) -> Iterator[Array]:
        preprocessing = file_preprocessing(self.recipe)
        sizes = preprocessing.source_sizes() or (self.recipe.image_size,)
        network = network_preprocessing(self.recipe)
        for index in range(self.seeded):
            image = draw(
                ORDER[index % len(ORDER)],
                FIRST + index,
                seed=self.seed,
                shape=(self.recipe.in_channels, *sizes[index // len(ORDER) % len(sizes)]),
                preprocessing=network,
            )
            yield preprocessing.from_network(image[None])


def make_calibration(recipe: Recipe, given: str | Path | int, *, seed: int = 0) -> Calibration:
    """Return the calibration images of a file; given is a folder, or a number of seeded images.

    Raises InputError for a number below 1, ImageError for a folder without images."""
    if isinstance(given, int):
        if given < 1:
            raise InputError(
                f"the number of calibration images must be at least 1, not {given}",
                fix="pass --calibrate N, or a folder",
            )
        return Calibration(recipe=recipe, seeded=given, seed=seed)
    if recipe.tensors:
        raise InputError(
            f"{recipe.model_name} takes {recipe.takes}, and a folder holds images", fix="pass --calibrate N"
        )
    paths = list(find_images([given]))
    step = max(1, -(-len(paths) // MOST))
    return Calibration(recipe=recipe, paths=tuple(paths[::step]))


def file_preprocessing(recipe: Recipe) -> FilePreprocessing:
    """Return the preprocessing that is part of the file."""
    return FilePreprocessing(steps=front_steps(recipe), image_size=recipe.image_size)

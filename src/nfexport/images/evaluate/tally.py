"""Add up batches: the predictions of each runtime for each image, as small numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.images.evaluate.batches import BatchRecord
from nfexport.images.evaluate.predictions import NO_CLASS, TOP


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeScore:
    """Accuracy in one runtime, in per cent of the images that were read.

    top5 is None for a file that returns fewer than five of its classes. not_a_number is the number of images with a
    NaN among their scores, which count as wrong."""

    runtime: str
    version: str
    top1: float
    top5: float | None
    not_a_number: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of two runtimes, in per cent of the images that were read.

    top1 is the share with the same top class, top5 the share with the same five in the same order, None where one of
    them returns fewer; largest_difference is that of any probability, None where no probabilities are known."""

    first: str
    second: str
    top1: float
    top5: float | None
    largest_difference: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class: the number of its images that were read, and the share in per cent that is predicted correctly.

    confused_with is the wrong class that is predicted most often, the lowest of several, confusions how often."""

    index: int
    label: str | None
    images: int
    top1: float
    confused_with: int | None
    confusions: int


class Tally:
    """The class of each image of a data set, and its top classes in each runtime."""

    def __init__(self, truth: NDArray[np.int32], depths: Mapping[str, int]) -> None:
        """Begin without batches; depths maps each runtime, in order, to the number of top classes that it returns."""
        count = len(truth)
        self.truth = truth
        self.depths = dict(depths)
        self.skipped: list[tuple[int, str]] = []
        self._read = np.zeros(count, bool)
        self._top = {name: np.full((count, TOP), NO_CLASS, np.int32) for name in depths}
        self._difference = {name: np.full(count, np.nan) for name in list(depths)[1:]}

    def add(self, record: BatchRecord) -> None:
        """Add a batch."""
        self.skipped.extend((index, reason) for index, reason in record.skipped)
        if not record.read:
            return
        self._read[record.read] = True
        for name, top in record.top.items():
            best = np.array(top, np.int32)
            self._top[name][record.read, : best.shape[1]] = best
        for name, differences in record.difference.items():
            self._difference[name][record.read] = [np.nan if value is None else value for value in differences]

    @property
    def read(self) -> int:
        """The number of images that were read."""
        return int(self._read.sum())

    def predicted(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the class, and the top class in the first runtime, of each image that was read."""
        return self.truth[self._read], self._best(next(iter(self.depths)))[:, 0]

    def top1(self) -> float:
        """Return the top-1 accuracy so far, in the first runtime, in per cent."""
        truth, best = self.predicted()
        return _share(best == truth)

    def scores(self, versions: Mapping[str, str], *, full: int) -> tuple[RuntimeScore, ...]:
        """Return the score of each runtime; full is the number of top classes that make a top-5."""
        truth = self.truth[self._read]
        result = []
        for name, depth in self.depths.items():
            best = self._best(name)
            result.append(
                RuntimeScore(
                    runtime=name,
                    version=versions[name],
                    top1=_share(best[:, 0] == truth),
                    top5=_share((best == truth[:, None]).any(axis=1)) if depth >= full else None,
                    not_a_number=int((best[:, 0] == NO_CLASS).sum()),
                )
            )
        return tuple(result)

    def agreements(self, *, full: int) -> tuple[Agreement, ...]:
        """Return the agreement of each further runtime with the first one; full is as for scores."""
        first, *others = self.depths
        mine = self._best(first)
        result = []
        for name in others:
            other = self._best(name)
            known = (mine[:, 0] != NO_CLASS) & (other[:, 0] != NO_CLASS)
            differences = self._difference[name][self._read]
            has_five = min(self.depths[first], self.depths[name]) >= full
            result.append(
                Agreement(
                    first=first,
                    second=name,
                    top1=_share(known & (mine[:, 0] == other[:, 0])),
                    top5=_share(known & (mine == other).all(axis=1)) if has_five else None,
                    largest_difference=None if np.isnan(differences).all() else float(np.nanmax(differences)),
                )
            )
        return tuple(result)

    def classes(self, names: Sequence[str] | None) -> tuple[ClassScore, ...]:
        """Return the score of each class that has images, in the first runtime; names are the labels, if known."""
        truth, best = self.predicted()
        result = []
        for index in np.unique(truth).tolist():
            given = best[truth == index]
            wrong = given[(given != index) & (given != NO_CLASS)]
            found, times = np.unique(wrong, return_counts=True)
            result.append(
                ClassScore(
                    index=index,
                    label=None if names is None else names[index],
                    images=len(given),
                    top1=_share(given == index),
                    confused_with=int(found[times.argmax()]) if len(found) else None,
                    confusions=int(times.max()) if len(found) else 0,
                )
            )
        return tuple(result)

    def _best(self, name: str) -> Any:
        return self._top[name][self._read]


def _share(hits: NDArray[np.bool_]) -> float:
    return 100.0 * int(hits.sum()) / max(len(hits), 1)

"""Add batches up: what each runtime said of each picture, as small numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.images.evaluate.batches import BatchRecord
from nfexport.images.evaluate.predictions import BEST, NONE


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeScore:
    """Shares of the pictures that were read, in per cent; top5 is None for a file that tells fewer classes.

    not_a_number counts pictures with a NaN among their scores, which are never right."""

    runtime: str
    version: str
    top1: float
    top5: float | None
    not_a_number: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two runtimes say the same of the pictures that were read, in per cent.

    top1 is the share with the same best class, top5 that with the same five in the same order, None where one
    tells fewer; largest_difference is that of any probability, None where no probabilities are known."""

    first: str
    second: str
    top1: float
    top5: float | None
    largest_difference: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class: pictures read, the share that is right (per cent), and what the others are taken for most.

    confused_with is the wrong class given most often, the lowest of several, and confusions how often."""

    index: int
    label: str | None
    pictures: int
    top1: float
    confused_with: int | None
    confusions: int


class Tally:
    """Holds, for each picture of the data set, its class and the best classes in each runtime."""

    def __init__(self, truth: NDArray[np.int32], depths: Mapping[str, int]) -> None:
        """depths are the numbers of best classes that each runtime tells, by its name, in order."""
        count = len(truth)
        self.truth = truth
        self.depths = dict(depths)
        self.skipped: list[tuple[int, str]] = []
        self._read = np.zeros(count, bool)
        self._top = {name: np.full((count, BEST), NONE, np.int32) for name in depths}
        self._apart = {name: np.full(count, np.nan) for name in list(depths)[1:]}

    def add(self, record: BatchRecord) -> None:
        """Add a batch."""
        self.skipped.extend((place, reason) for place, reason in record.skipped)
        if not record.read:
            return
        self._read[record.read] = True
        for name, top in record.top.items():
            best = np.array(top, np.int32)
            self._top[name][record.read, : best.shape[1]] = best
        for name, apart in record.difference.items():
            self._apart[name][record.read] = [np.nan if value is None else value for value in apart]

    @property
    def read(self) -> int:
        """The number of pictures that were read."""
        return int(self._read.sum())

    def predicted(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return class and best class in the first runtime of each picture that was read."""
        return self.truth[self._read], self._best(next(iter(self.depths)))[:, 0]

    def top1(self) -> float:
        """The share in per cent that the first runtime has right so far."""
        truth, best = self.predicted()
        return _share(best == truth)

    def scores(self, versions: Mapping[str, str], *, full: int) -> tuple[RuntimeScore, ...]:
        """Return the score of each runtime; full is how many best classes make a top-5."""
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
                    not_a_number=int((best[:, 0] == NONE).sum()),
                )
            )
        return tuple(result)

    def agreements(self, *, full: int) -> tuple[Agreement, ...]:
        """Return how far each runtime agrees with the first."""
        first, *others = self.depths
        mine = self._best(first)
        result = []
        for name in others:
            its = self._best(name)
            known = (mine[:, 0] != NONE) & (its[:, 0] != NONE)
            apart = self._apart[name][self._read]
            has_five = min(self.depths[first], self.depths[name]) >= full
            result.append(
                Agreement(
                    first=first,
                    second=name,
                    top1=_share(known & (mine[:, 0] == its[:, 0])),
                    top5=_share(known & (mine == its).all(axis=1)) if has_five else None,
                    largest_difference=None if np.isnan(apart).all() else float(np.nanmax(apart)),
                )
            )
        return tuple(result)

    def classes(self, names: Sequence[str] | None) -> tuple[ClassScore, ...]:
        """Return the score of each class that has pictures, in the first runtime."""
        truth, best = self.predicted()
        result = []
        for index in np.unique(truth).tolist():
            given = best[truth == index]
            wrong = given[(given != index) & (given != NONE)]
            found, times = np.unique(wrong, return_counts=True)
            result.append(
                ClassScore(
                    index=index,
                    label=None if names is None else names[index],
                    pictures=len(given),
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

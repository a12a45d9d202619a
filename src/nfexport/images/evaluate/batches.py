"""Decode and run pictures in threads, a batch each, with a bounded number of batches under way.

Pillow and the runtimes let go of Python's lock while they work, so threads fill the cores, and share one
copy of the weights.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import os
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from nfexport.errors import ImageError
from nfexport.images.decoder import decode
from nfexport.images.evaluate.dataset import DataSet
from nfexport.images.evaluate.predictions import Answers, difference
from nfexport.images.evaluate.runners import Pixels, Runner, one_thread_each, pixels_for

AHEAD = 2
"""Batches that wait for a thread, so that none waits for a batch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """What one batch gave: read are the places of its pictures in the data set, in order.

    top has, for each runtime, the best classes of each picture; difference, for each runtime but the first,
    the largest difference of probabilities from the first, None where that is unknown; skipped the places
    of pictures that could not be read, with the reason."""

    batch: int
    read: list[int]
    top: dict[str, list[list[int]]]
    difference: dict[str, list[float | None]]
    skipped: list[tuple[int, str]]


def cores() -> int:
    """Return the number of cores that this process may use."""
    with contextlib.suppress(AttributeError):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_batches(
    dataset: DataSet, runners: Sequence[Runner], *, size: int, first: int, workers: int
) -> Generator[BatchRecord, None, None]:
    """Yield the records of the batches of so many pictures, in order, from the first-th on.

    Close the generator to stop early: what is under way is waited for, what is not is dropped."""
    numbers = iter(range(first, -(-len(dataset.pictures) // size)))
    under_way: collections.deque[Future[BatchRecord]] = collections.deque()
    with one_thread_each(runners), ThreadPoolExecutor(workers, thread_name_prefix="nfexport") as pool:

        def submit(some: Iterable[int]) -> None:
            under_way.extend(pool.submit(_run_batch, dataset, runners, number, size) for number in some)

        try:
            submit(itertools.islice(numbers, workers + AHEAD))
            while under_way:
                record = under_way.popleft().result()
                submit(itertools.islice(numbers, 1))
                yield record
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_batch(dataset: DataSet, runners: Sequence[Runner], number: int, size: int) -> BatchRecord:
    places = range(number * size, min((number + 1) * size, len(dataset.pictures)))
    pixels: dict[int, list[Pixels]] = {}
    skipped: list[tuple[int, str]] = []
    for place in places:
        path = dataset.root / dataset.pictures[place]
        try:
            picture = decode(path, channels=runners[0].form.channels)
        except ImageError as error:
            skipped.append((place, error.problem))
            continue
        try:
            pixels[place] = pixels_for(runners, picture)
        except ImageError as error:
            skipped.append((place, f"'{path}': {error.problem}"))
    top: dict[str, dict[int, list[int]]] = {runner.name: {} for runner in runners}
    apart: dict[str, dict[int, float | None]] = {runner.name: {} for runner in runners[1:]}
    for group in _of_one_shape(pixels):
        answers = [runner.answers([pixels[place][i] for place in group]) for i, runner in enumerate(runners)]
        for runner, answer in zip(runners, answers, strict=True):
            top[runner.name].update(zip(group, answer.top.tolist(), strict=True))
            if runner is not runners[0]:
                apart[runner.name].update(zip(group, _rounded(answers[0], answer), strict=True))
    return BatchRecord(
        batch=number,
        read=list(pixels),
        top={name: [found[place] for place in pixels] for name, found in top.items()},
        difference={name: [found[place] for place in pixels] for name, found in apart.items()},
        skipped=skipped,
    )


def _rounded(first: Answers, second: Answers) -> list[float | None]:
    # three digits say it, and keep the journal short
    return [None if value is None else float(f"{value:.3g}") for value in difference(first, second)]


def _of_one_shape(pixels: dict[int, list[Pixels]]) -> list[list[int]]:
    """Return the places in groups that can be one array: files that resize take pictures of any size."""
    groups: dict[Any, list[int]] = {}
    for place, arrays in pixels.items():
        groups.setdefault(tuple(np.shape(array) for array in arrays), []).append(place)
    return list(groups.values())

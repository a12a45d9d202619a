"""Decode and run images in threads, one batch per thread, with a bounded number of batches in flight.

Pillow and the runtimes release the interpreter's lock while they work, so threads keep the cores busy and share one
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
from nfexport.images.evaluate.predictions import Predictions, difference
from nfexport.images.evaluate.runners import Pixels, Runner, one_thread_each, pixels_for

AHEAD = 2
"""Batches that are queued in addition to those that run, so that no thread waits for work."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """The results of one batch; images are given by their index in the data set.

    read holds the images that were read, in order. top has, for each runtime, the top classes of each of them;
    difference has, for each runtime but the first, the largest difference of a probability from the first runtime,
    None where that is unknown. skipped holds the images that could not be read, with the reason."""

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
    """Yield the records of the batches of size images, in order, from batch number first on.

    Close the generator to stop early: it waits for the batches that run, and drops those that are queued."""
    numbers = iter(range(first, -(-len(dataset.images) // size)))
    in_flight: collections.deque[Future[BatchRecord]] = collections.deque()
    with one_thread_each(runners), ThreadPoolExecutor(workers, thread_name_prefix="nfexport") as pool:

        def submit(some: Iterable[int]) -> None:
            in_flight.extend(pool.submit(_run_batch, dataset, runners, number, size) for number in some)

        try:
            submit(itertools.islice(numbers, workers + AHEAD))
            while in_flight:
                record = in_flight.popleft().result()
                submit(itertools.islice(numbers, 1))
                yield record
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_batch(dataset: DataSet, runners: Sequence[Runner], number: int, size: int) -> BatchRecord:
    pixels, skipped = _read(dataset, runners, range(number * size, min((number + 1) * size, len(dataset.images))))
    top: dict[str, dict[int, list[int]]] = {runner.name: {} for runner in runners}
    differences: dict[str, dict[int, float | None]] = {runner.name: {} for runner in runners[1:]}
    for group in _of_one_shape(pixels):
        predictions = [runner.predict([pixels[index][i] for index in group]) for i, runner in enumerate(runners)]
        for runner, its in zip(runners, predictions, strict=True):
            top[runner.name].update(zip(group, its.top.tolist(), strict=True))
            if runner is not runners[0]:
                differences[runner.name].update(zip(group, _rounded(predictions[0], its), strict=True))
    return BatchRecord(
        batch=number,
        read=list(pixels),
        top={name: [found[index] for index in pixels] for name, found in top.items()},
        difference={name: [found[index] for index in pixels] for name, found in differences.items()},
        skipped=skipped,
    )


def _read(
    dataset: DataSet, runners: Sequence[Runner], indices: Iterable[int]
) -> tuple[dict[int, list[Pixels]], list[tuple[int, str]]]:
    """Return, for each image that can be read, its pixels for each runner, and the others with the reason."""
    pixels: dict[int, list[Pixels]] = {}
    skipped: list[tuple[int, str]] = []
    for index in indices:
        path = dataset.root / dataset.images[index]
        try:
            image = decode(path, channels=runners[0].preprocessor.channels)
        except ImageError as error:
            skipped.append((index, error.problem))
            continue
        try:
            pixels[index] = pixels_for(runners, image)
        except ImageError as error:
            skipped.append((index, f"'{path}': {error.problem}"))
    return pixels, skipped


def _rounded(first: Predictions, second: Predictions) -> list[float | None]:
    # three digits are enough, and keep the journal short
    return [None if value is None else float(f"{value:.3g}") for value in difference(first, second)]


def _of_one_shape(pixels: dict[int, list[Pixels]]) -> list[list[int]]:
    """Return the images in groups of one shape each, as files that resize take images of any size."""
    groups: dict[Any, list[int]] = {}
    for index, arrays in pixels.items():
        groups.setdefault(tuple(np.shape(array) for array in arrays), []).append(index)
    return list(groups.values())

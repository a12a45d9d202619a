"""Decode pictures ahead of the network, in threads: Pillow leaves the interpreter free while it decodes."""

from __future__ import annotations

import collections
import os
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import ImageError
from nfexport.images.preprocessor import Preprocessor

Pixels = NDArray[np.uint8]
MOST_THREADS = 8
"""A network takes longer than eight threads to decode its pictures, or is not what one waits for."""


def read_ahead(
    form: Preprocessor, pictures: Iterable[Path], *, ahead: int | None = None
) -> Generator[tuple[Path, Pixels | ImageError], None, None]:
    """Yield each picture with its pixels, or with the reason why it has none, in order.

    ahead is how many are decoded before they are asked for, twice the number of threads by default: that
    many are in memory, however many pictures there are. Closing it ends the threads."""
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    ahead = 2 * threads if ahead is None else ahead
    waiting: collections.deque[tuple[Path, Future[Pixels]]] = collections.deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    try:
        for picture in pictures:
            waiting.append((picture, pool.submit(form.read, picture)))
            if len(waiting) > ahead:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _next(waiting: collections.deque[tuple[Path, Future[Pixels]]]) -> tuple[Path, Pixels | ImageError]:
    picture, future = waiting.popleft()
    try:
        return picture, future.result()
    except ImageError as error:
        return picture, error

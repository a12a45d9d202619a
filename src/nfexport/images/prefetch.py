"""Decode images in threads, ahead of the network: Pillow releases the interpreter's lock while it decodes."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import ImageError
from nfexport.images.preprocessor import Preprocessor

Pixels = NDArray[np.uint8]
MAX_THREADS = 8
"""Where eight threads decode more slowly than the network runs, more threads do not help: they share its cores."""


def read_ahead(
    preprocessor: Preprocessor, images: Iterable[Path], *, ahead: int | None = None
) -> Generator[tuple[Path, Pixels | ImageError], None, None]:
    """Yield each image with its pixels, or with the error that reading it raised, in order.

    ahead is the number of images that are decoded before they are asked for, by default twice the number of threads:
    memory holds that many, however many images there are. Close the generator to end the threads."""
    count = min(os.cpu_count() or 1, MAX_THREADS)
    ahead = 2 * count if ahead is None else ahead
    waiting: collections.deque[tuple[Path, Future[Pixels]]] = collections.deque()
    workers: set[int] = set()
    pool = ThreadPoolExecutor(
        count, thread_name_prefix="nfexport-decode", initializer=lambda: workers.add(threading.get_ident())
    )
    try:
        for image in images:
            waiting.append((image, pool.submit(preprocessor.read, image)))
            if len(waiting) > ahead:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        # the garbage collector may close an abandoned generator in one of its own threads, which cannot join itself
        pool.shutdown(wait=threading.get_ident() not in workers, cancel_futures=True)


def _next(waiting: collections.deque[tuple[Path, Future[Pixels]]]) -> tuple[Path, Pixels | ImageError]:
    image, future = waiting.popleft()
    try:
        return image, future.result()
    except ImageError as error:
        return image, error

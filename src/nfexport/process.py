"""Python's garbage collector, out of the way while packages are imported.

Importing torch and timm makes a million objects that stay. The collector looks through them again and again
meanwhile, and once more when the process ends.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Collect nothing until the block ends; nested or where collection was off anyway, change nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def leave_all() -> None:
    """Leave what is in memory to the end of the process, which is near: no last search for garbage."""
    gc.freeze()

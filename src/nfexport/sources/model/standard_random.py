"""Fix the global random state while somebody else's code makes weights."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

SEED = 0


@contextlib.contextmanager
def fixed_random_state() -> Iterator[None]:
    """Start the random generators of Python, numpy and torch at the same state each time; they are restored."""
    ours, theirs = random.getstate(), np.random.get_state()
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)

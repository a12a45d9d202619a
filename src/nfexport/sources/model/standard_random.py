"""Fix the global random state while somebody else's code makes weights."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from nfexport import process

SEED = 0


@contextlib.contextmanager
def fixed_random_state() -> Iterator[None]:
    """Start the random generators of Python, numpy and torch at the same state each time; they are restored."""
    numpy_state, torch_state = (
        np.random.RandomState(SEED).get_state(),
        torch.Generator().manual_seed(SEED).get_state(),
    )
    with (
        process.setting(random.getstate, random.setstate, random.Random(SEED).getstate()),
        process.setting(np.random.get_state, np.random.set_state, numpy_state),
        process.setting(torch.get_rng_state, torch.set_rng_state, torch_state),
    ):
        yield

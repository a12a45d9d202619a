"""A batch larger than those that PyTorch computes, of the same entries: a file may treat many unlike few.

    y([a, b, c, d, …]) = [y([a, b, c]), y([d]), …]

The entries of the first batches are joined to one of five or more, and the expected outputs with them, so PyTorch
computes nothing twice. A file of a fixed batch is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nfexport.verification.input_cases import InputCase

if TYPE_CHECKING:
    from nfexport.verification.torch_reference import Reference

LARGER = "larger batch"
"""The name of the case."""

ENTRIES = 5
"""The least number of entries; the usual batches have three at most."""


def chosen(cases: Sequence[InputCase]) -> tuple[InputCase, ...]:
    """Return the first cases that together have ENTRIES entries or more; none where the batch is fixed, or the first
    ones differ in their sizes."""
    if len({case.batch for case in cases}) < 2:
        return ()
    found: list[InputCase] = []
    for case in cases:
        if sum(one.batch for one in found) >= ENTRIES:
            break
        found.append(case)
    shapes = {tuple(array.shape[1:] for array in case.arrays if array.ndim) for case in found}
    entries = all(array.shape[:1] == (case.batch,) for case in found for array in case.arrays)
    return tuple(found) if len(shapes) == 1 and entries else ()


def joined(cases: Sequence[InputCase]) -> InputCase:
    """Return the cases as one batch."""
    arrays = tuple(np.concatenate(parts) for parts in zip(*(case.arrays for case in cases), strict=True))
    return InputCase(name=LARGER, batch=sum(case.batch for case in cases), arrays=arrays)


def joined_reference(references: Sequence[Reference]) -> Reference:
    """Return what PyTorch computes of the cases as that of one batch."""
    from nfexport.verification.torch_reference import Reference

    names = list(references[0].expected)
    most = max(len(runs) for one in references for runs in one.float32.values())
    return Reference(
        expected={name: np.concatenate([one.expected[name] for one in references]) for name in names},
        float32={
            name: tuple(
                np.concatenate([one.float32[name][run % len(one.float32[name])] for one in references])
                for run in range(most)
            )
            for name in names
        },
    )

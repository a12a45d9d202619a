"""A recording before it is written: batches with their expected outputs, and the reference of those."""

from __future__ import annotations

import dataclasses
from typing import Any

from numpy.typing import NDArray

from nfexport.goldens.limits import Expected
from nfexport.goldens.manifest import InputSpec, Reference

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedBatch:
    """One data set: case names the kinds of input it is made of; outputs are in the order of the file."""

    case: str
    batch: int
    inputs: dict[str, Array]
    outputs: list[Expected]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorded:
    """The expected outputs of a file and their reference; fields as in Manifest."""

    reference: Reference
    batches: list[RecordedBatch]
    tolerance: str
    subject: InputSpec | None
    summary: str

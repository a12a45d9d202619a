"""The result of a measurement."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfexport.benchmark.machine import Machine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """The quartiles of a sample: half of it lies between low and high."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, sample: Sequence[float]) -> Spread:
        """Return the interpolated quartiles of at least one number."""
        if len(sample) == 1:
            return cls(low=sample[0], median=sample[0], high=sample[0])
        low, median, high = statistics.quantiles(sample, n=4, method="inclusive")
        return cls(low=low, median=median, high=high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """The timing of one file in one runtime at one batch size.

    wall and cpu are milliseconds per inference: wall time, and processor time over all threads. speed is the speed-up
    over the first file of the batch size, from the ratios of single rounds: the two ran one after the other, so a
    temporary slow-down of the machine cancels out. cpu_speed is the same for processor time, which with one
    thread is reliable on a busy machine too."""

    file: Path
    runtime: str
    batch: int
    wall: Spread
    cpu: Spread
    speed: Spread
    cpu_speed: Spread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A file loaded in a runtime: the seconds that loading took in a fresh process, and the peak memory of that
    process in bytes, None where the system does not report it."""

    file: Path
    runtime: str
    version: str
    seconds: float
    peak_memory: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A file that a runtime does not load, or does not run at one batch size (None: at any), and the reason."""

    file: Path
    runtime: str
    batch: int | None
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The timings of all files. threads is the number asked for, None for each runtime's default; runs is the number
    of timed inferences of each file."""

    machine: Machine
    threads: int | None
    runs: int
    loaded: tuple[Loaded, ...]
    timings: tuple[Timing, ...]
    refused: tuple[Refused, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "machine": dataclasses.asdict(self.machine),
            "threads": self.threads,
            "runs": self.runs,
            "loaded": [_plain(entry) for entry in self.loaded],
            "timings": [_plain(entry) for entry in self.timings],
            "refused": [_plain(entry) for entry in self.refused],
        }


def _plain(entry: Loaded | Timing | Refused) -> dict[str, Any]:
    return dataclasses.asdict(entry) | {"file": str(entry.file)}


Sample = tuple[Sequence[float], Sequence[float]]
"""Milliseconds of wall time and of processor time, by round."""


def make_timing(file: Path, runtime: str, batch: int, own: Sample, first: Sample) -> Timing:
    """Return the timing of one sample, with its speed-up over the first."""
    return Timing(
        file=file,
        runtime=runtime,
        batch=batch,
        wall=Spread.of(own[0]),
        cpu=Spread.of(own[1]),
        speed=_ratios(first[0], own[0]),
        cpu_speed=_ratios(first[1], own[1]),
    )


def _ratios(first: Sequence[float], own: Sequence[float]) -> Spread:
    # a coarse clock reads 0 for a short inference
    return Spread.of([a / b if b else 1.0 for a, b in zip(first, own, strict=True)])

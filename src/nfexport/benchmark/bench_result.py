"""What a measurement found, as values."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfexport.benchmark.machine import Machine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Quartiles of a sample: half of it lies between low and high."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, sample: Sequence[float]) -> Spread:
        """Return the quartiles of one number or more, interpolated."""
        if len(sample) == 1:
            return cls(low=sample[0], median=sample[0], high=sample[0])
        low, median, high = statistics.quantiles(sample, n=4, method="inclusive")
        return cls(low=low, median=median, high=high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """One file in one runtime at one batch.

    wall and cpu are milliseconds an inference, by the clock and of processor time over all threads; speed is
    how many times as fast it is as the first of its batch, from the ratios of rounds: the two ran one after
    the other, so what slows the machine for a while cancels out. cpu_speed is the same of processor time: with
    one thread it holds on a machine that has other work, too."""

    file: Path
    runtime: str
    batch: int
    wall: Spread
    cpu: Spread
    speed: Spread
    cpu_speed: Spread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A file in a runtime: seconds to load it into a fresh process, and the most memory in bytes that the
    process held until the end, None where the system does not tell."""

    file: Path
    runtime: str
    version: str
    seconds: float
    peak_memory: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A file that a runtime did not take, or could not run at one batch (None: at any), and why."""

    file: Path
    runtime: str
    batch: int | None
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchResult:
    """threads are those asked for, None if each runtime chose; runs are timed inferences of each."""

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
"""Milliseconds by the clock and of processor time, by round."""


def timing(file: Path, runtime: str, batch: int, own: Sample, first: Sample) -> Timing:
    """Return the figures of one sample next to the first's."""
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
    # a clock too coarse for a short inference tells 0
    return Spread.of([a / b if b else 1.0 for a, b in zip(first, own, strict=True)])

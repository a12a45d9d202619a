"""Progress of long operations: the caller passes a Progress, and shows what it likes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """Is told when a stage starts, of its steps, and of its duration when it ends."""

    def start(self, stage: str) -> None:
        """Note that a stage starts."""

    def step(self, text: str) -> None:
        """Note a step of the stage that runs."""

    def finish(self, stage: str, seconds: float) -> None:
        """Note that a stage is done, and how long it took."""


class Silent:
    """A Progress that shows nothing."""

    def start(self, stage: str) -> None:
        """Do nothing."""

    def step(self, text: str) -> None:
        """Do nothing."""

    def finish(self, stage: str, seconds: float) -> None:
        """Do nothing."""


class Stages:
    """Times the stages of an operation, and passes them on to a Progress.

    seconds holds the duration of each stage that has finished, by its name."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress: Progress = progress or Silent()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; a stage that raises is not finished."""
        self.progress.start(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
        self.progress.finish(name, self.seconds[name])

"""How long work tells what it is doing: the caller passes a Progress, and prints what it likes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol


class Progress(Protocol):
    """Hears of each stage when it starts, of its steps, and of its duration in seconds when it ends."""

    def start(self, stage: str) -> None: ...

    def step(self, text: str) -> None: ...

    def finish(self, stage: str, seconds: float) -> None: ...


class Silent:
    """A Progress that says nothing."""

    def start(self, stage: str) -> None:
        pass

    def step(self, text: str) -> None:
        pass

    def finish(self, stage: str, seconds: float) -> None:
        pass


class Stages:
    """Times the stages of one piece of work and passes the news on."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress: Progress = progress or Silent()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside; a stage that fails is not finished."""
        self.progress.start(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
        self.progress.finish(name, self.seconds[name])

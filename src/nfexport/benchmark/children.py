"""The other side of child.py: start processes that hold a file each, talk to them, and end them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from nfexport.benchmark.feeds import Form


class RefusalError(Exception):
    """Why a runtime does not take a file, or does not run it, in words for a report."""


class Child:
    """A file in a runtime, in a process of its own. version and seconds are what loading it told.

    Raises RefusalError if the runtime does not take the file."""

    def __init__(self, file: Path, runtime: str, threads: int | None) -> None:
        self.file = file
        self.runtime = runtime
        command = [sys.executable, "-m", "nfexport.benchmark.child", str(file), runtime, str(threads or 0)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        try:
            told = self._hear()
        except BaseException:
            self.close()
            raise
        self.version: str = told["version"]
        self.seconds: float = told["seconds"]

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, forms: Mapping[str, Form]) -> None:
        """Let it run inputs of these forms from now on, and warm up. Raises RefusalError if it cannot."""
        self._ask({"feed": forms})

    def run(self) -> tuple[float, float]:
        """Run once, timed: milliseconds by the clock, and of processor time. Raises RefusalError."""
        told = self._ask({"run": True})
        return told["wall"], told["cpu"]

    def peak_memory(self) -> int | None:
        """Return the most memory in bytes that it has held."""
        peak: int | None = self._ask({"peak": True})["peak"]
        return peak

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RefusalError(self._ended()) from error
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RefusalError(self._ended())
        told: dict[str, Any] = json.loads(line)
        if "refused" in told:
            raise RefusalError(told["refused"])
        return told

    def _ended(self) -> str:
        code = self._process.wait()
        return f"its process ended with {f'signal {-code}' if code < 0 else f'code {code}'}"

"""The other side of child.py: start processes that hold one file each, send requests to them, and end them."""

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
    """A runtime does not load a file, or does not run it; the text is the reason, for a report."""


class Child:
    """A file in a runtime, in a process of its own.

    version is that of the runtime, seconds the time that loading took. Raises RefusalError if the runtime does not
    load the file."""

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
            reply = self._receive()
        except BaseException:
            self.close()
            raise
        self.version: str = reply["version"]
        self.seconds: float = reply["seconds"]

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, forms: Mapping[str, Form]) -> None:
        """Set the shapes and types of the inputs, and warm up. Raises RefusalError if the runtime fails."""
        self._request({"feed": forms})

    def run(self) -> tuple[float, float]:
        """Return the milliseconds of one inference: wall time and processor time. Raises RefusalError."""
        reply = self._request({"run": True})
        return reply["wall"], reply["cpu"]

    def peak_memory(self) -> int | None:
        """Return the peak memory of the process in bytes."""
        peak: int | None = self._request({"peak": True})["peak"]
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

    def _request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RefusalError(self._ended()) from error
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RefusalError(self._ended())
        reply: dict[str, Any] = json.loads(line)
        if "refused" in reply:
            raise RefusalError(reply["refused"])
        return reply

    def _ended(self) -> str:
        code = self._process.wait()
        return f"its process ended with {f'signal {-code}' if code < 0 else f'code {code}'}"

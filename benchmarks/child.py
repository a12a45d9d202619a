"""Run a command in a process of its own, and measure wall-clock time, processor time and peak memory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """The resources that one process used; peak_bytes is its largest resident set, or that of a child of it."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    exit_code: int
    stdout: str
    stderr: str

    def cost(self) -> dict[str, float | int]:
        """Return the three figures, rounded to their precision."""
        return {"wall_s": round(self.wall_s, 3), "cpu_s": round(self.cpu_s, 3), "peak_bytes": self.peak_bytes}

    def error(self) -> str | None:
        """Return the last line of the output of a failed process, None for one that succeeded."""
        if self.exit_code == 0:
            return None
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return (lines[-1] if lines else f"exit code {self.exit_code}")[:300]


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 900) -> Usage:
    """Run the command to its end, or kill it after timeout_s seconds.

    wait4 gives the figures of this child alone, which resource.getrusage(RUSAGE_CHILDREN) mixes with earlier ones."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env)
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        timer.cancel()
        # Popen did not see the end itself, and would wait for it again
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Usage(
            wall_s=wall,
            cpu_s=usage.ru_utime + usage.ru_stime,
            # kilobytes on Linux
            peak_bytes=usage.ru_maxrss * 1024,
            exit_code=process.returncode,
            stdout=out.read().decode(errors="replace"),
            stderr=err.read().decode(errors="replace"),
        )

"""Session load and latency of many files in many runtimes, interleaved.

Each pair of file and runtime has a process of its own that stays warm (benchmarks/serving.py). The processes run in
turns, so that drift of the machine affects them alike. Only one of them works at a time, and the next one waits until
the threads of the last are asleep.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.plan import Network
from benchmarks.records import Record

Pair = tuple[str, str, str]
"""Tool, runtime, and the file or timm name that the runtime opens."""


PAUSE = 0.06
"""Seconds between two processes' turns: the threads of ONNX Runtime spin for 26 ms after their last work."""


class ServingProcess:
    """A warm process, its answers, and the reason why it gets no more requests."""

    def __init__(self, process: subprocess.Popen[str], tool: str, runtime: str) -> None:
        self.process, self.tool, self.runtime = process, tool, runtime
        self.loads: list[float] = []
        self.runs: dict[int, list[float]] = {}
        self.error: str | None = None

    def ask(self, **request: Any) -> Any:
        """Return the seconds that it answers with; None after an error."""
        if self.error is not None:
            return None
        time.sleep(PAUSE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"ended with exit code {self.process.wait()}"}
        self.error = answer.get("error")
        return answer.get("seconds")

    def record(self, model: str) -> Record:
        """Return what was measured, in seconds."""
        return {
            "kind": "latency",
            "model": model,
            "tool": f"{self.tool}/{self.runtime}",
            "loads": [round(value, 4) for value in self.loads],
            "runs": {str(batch): [round(value, 5) for value in values] for batch, values in self.runs.items()},
            **({"error": self.error} if self.error else {}),
        }


def measure(of: Network, pairs: Sequence[Pair], *, python: str, threads: int) -> list[Record]:
    """Return one record for each pair, and one for the GEMM of each group."""
    records = []
    for group in _groups(of, pairs):
        with ExitStack() as stack:
            served = [stack.enter_context(_serve(python, pair, of.size, threads)) for pair in group]
            _load(served, of)
            for batch in of.batches:
                _run(served, of, batch)
            records += [one.record(of.model) for one in served]
    return records


def _groups(of: Network, pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Return the processes that are alive together; each group has a GEMM to compare with."""
    if not of.big:
        return [[*pairs, ("gemm", "gemm", "")]]
    runtimes = list(dict.fromkeys(runtime for _, runtime, _ in pairs))
    return [
        [*(pair for pair in pairs if pair[1] == runtime), (f"gemm-{runtime}", "gemm", "")] for runtime in runtimes
    ]


def _load(served: Sequence[ServingProcess], of: Network) -> None:
    # OpenVINO compiles for seconds what ONNX Runtime loads in tenths; networks in torch are built, not loaded
    times = {"onnxruntime": of.loads, "openvino": (of.loads + 1) // 2}
    for number in range(of.loads + 1):
        for one in served:
            if number > times.get(one.runtime, 0):
                continue
            seconds = one.ask(do="load")
            # the first load also reads the libraries
            if number and seconds is not None:
                one.loads.append(seconds)


def _run(served: Sequence[ServingProcess], of: Network, batch: int) -> None:
    asked = [one for one in served if not (one.runtime == "compiled" and batch != of.batches[0])]
    for one in asked:
        one.ask(do="run", batch=batch, times=1)  # warm up
    # a batch takes as long as its images
    times, asks = (of.runs, of.asks) if batch == 1 else (1, (of.asks + 1) // 2)
    for _ in range(asks):
        for one in asked:
            one.runs.setdefault(batch, []).extend(one.ask(do="run", batch=batch, times=times) or ())


@contextmanager
def _serve(python: str, pair: Pair, size: int, threads: int) -> Iterator[ServingProcess]:
    tool, runtime, opened = pair
    command = [python, "-m", "benchmarks.serving", runtime, opened, "--size", str(size), "--threads", str(threads)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        yield ServingProcess(process, tool, runtime)
    finally:
        process.kill()
        process.communicate()

"""Time files against one another: in turns, one inference each, in rotating order.

The speed of a machine varies from minute to minute. Files that run in turns are slowed down alike, so the ratio of
two files in one round is more reliable than the ratio of their medians. Each file has a process of its own, so that
its load time and memory are measured alone, and the thread pool of another file does not occupy its cores.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from nfexport.benchmark.bench_result import BenchResult, Loaded, Refused, Timing, make_timing
from nfexport.benchmark.children import Child, RefusalError
from nfexport.benchmark.feeds import Form, read_forms
from nfexport.benchmark.machine import this_machine
from nfexport.errors import InputError, OnnxFileError
from nfexport.inspection.openvino_ir import is_ir
from nfexport.progress import Progress, Stages
from nfexport.runtimes import runtimes as known_runtimes

RUNTIMES = ("onnxruntime",)
PAUSE = 0.06
"""Seconds between the turns of two processes: the threads of ONNX Runtime spin for 26 ms (measured) after their last
work, and would occupy the cores of the next process."""


def bench(
    files: Sequence[str | Path],
    *,
    runtimes: Sequence[str] = RUNTIMES,
    batches: Sequence[int] = (1,),
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    runs: int = 20,
    progress: Progress | None = None,
) -> BenchResult:
    """Time each file in each runtime (see nfexport.runtimes) at each batch size.

    Files are ONNX files from any producer, or OpenVINO's IR (.xml) for the runtime 'openvino'. size is height and
    width where a file leaves them free, by default those of its recipe. threads is the number that each runtime may
    use for one inference, None for its default. Results are in the order of the arguments; at each batch size, the
    others are compared with the first that runs.
    Raises InputError for an unknown runtime or numbers below 1, OnnxFileError if a file is missing or damaged,
    and InputError if nothing can be timed."""
    paths = [Path(file) for file in files]
    _check(paths, runtimes, batches, threads, runs)
    stages = Stages(progress)
    refused: list[Refused] = []
    with contextlib.ExitStack() as stack:
        with stages.stage("load"):
            children = [
                child
                for path in paths
                for runtime in runtimes
                if (child := _start(path, runtime, threads, refused, stack)) is not None
            ]
        timings: list[Timing] = []
        for batch in batches:
            with stages.stage(f"batch {batch}"):
                timings += _measure(children, batch, size, runs, refused, stages)
        if not timings:
            first = refused[0]
            raise InputError(
                f"nothing could be timed: {first.runtime} with {first.file}: {first.reason.rstrip('.')}",
                fix="pass a file, a batch size and an image size that the runtime supports",
            )
        loaded = tuple(_describe(child) for child in children)
    return BenchResult(
        machine=this_machine(),
        threads=threads,
        runs=runs,
        loaded=loaded,
        timings=tuple(timings),
        refused=tuple(refused),
    )


def _start(
    path: Path, runtime: str, threads: int | None, refused: list[Refused], stack: contextlib.ExitStack
) -> Child | None:
    """Return the file in the runtime, which ends with the stack; a refusal is added to the list instead."""
    try:
        if is_ir(path) and runtime != "openvino":
            raise RefusalError("only OpenVINO runs an IR")
        return stack.enter_context(Child(path, runtime, threads))
    except RefusalError as error:
        refused.append(Refused(file=path, runtime=runtime, batch=None, reason=str(error)))
        return None


def _describe(child: Child) -> Loaded:
    return Loaded(
        file=child.file,
        runtime=child.runtime,
        version=child.version,
        seconds=child.seconds,
        peak_memory=child.peak_memory(),
    )


def _measure(
    children: Sequence[Child],
    batch: int,
    size: tuple[int, int] | None,
    runs: int,
    refused: list[Refused],
    stages: Stages,
) -> list[Timing]:
    ready = [child for child in children if _feed(child, batch, size, refused)]
    wall: list[list[float]] = [[] for _ in ready]
    cpu: list[list[float]] = [[] for _ in ready]
    for number in range(runs):
        stages.progress.step(f"{number + 1} of {runs}")
        for place in range(len(ready)):
            # rotated, so that no file always follows the same one
            index = (place + number) % len(ready)
            time.sleep(PAUSE)
            milliseconds, processor = _run(ready[index], batch)
            wall[index].append(milliseconds)
            cpu[index].append(processor)
    return [
        make_timing(child.file, child.runtime, batch, (wall[index], cpu[index]), (wall[0], cpu[0]))
        for index, child in enumerate(ready)
    ]


def _feed(child: Child, batch: int, size: tuple[int, int] | None, refused: list[Refused]) -> bool:
    """Give a child its inputs, and return whether it runs; a refusal is added to the list."""
    try:
        child.feed(_forms(child.file, batch, size))
    except RefusalError as error:
        refused.append(Refused(file=child.file, runtime=child.runtime, batch=batch, reason=str(error)))
        return False
    return True


def _run(child: Child, batch: int) -> tuple[float, float]:
    try:
        return child.run()
    except RefusalError as error:
        raise InputError(
            f"{child.file} stopped in {child.runtime} at batch {batch}: {str(error).rstrip('.')}",
            fix="leave it out, or pass a smaller --batch",
        ) from error


def _forms(file: Path, batch: int, size: tuple[int, int] | None) -> dict[str, Form]:
    try:
        return read_forms(file, batch=batch, size=size)
    except OnnxFileError:
        raise
    except InputError as error:
        raise RefusalError(error.problem) from error


def _check(
    paths: Sequence[Path], runtimes: Sequence[str], batches: Sequence[int], threads: int | None, runs: int
) -> None:
    for name in runtimes:
        if name not in known_runtimes():
            raise InputError(f"there is no runtime '{name}'", fix=f"use one of {', '.join(known_runtimes())}")
    for what, number in (
        ("the batch size", min(batches)),
        ("runs", runs),
        ("threads", 1 if threads is None else threads),
    ):
        if number < 1:
            raise InputError(f"{what} must be at least 1, not {number}", fix="pass a larger number")
    for path in paths:
        if not path.is_file():
            raise OnnxFileError(f"'{path}' does not exist", fix="check the path")

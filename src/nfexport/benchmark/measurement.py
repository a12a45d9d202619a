"""Time files against one another: all of a batch in turns, one inference each, in rotating order.

A machine is never as fast as a minute ago. What runs in turns is slowed down alike, so the ratio of two
files in one round says more than the ratio of their medians. Each file is in a process of its own: its load
time and memory are its own, and another's thread pool does not spin on its cores for long.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from nfexport.benchmark.bench_result import BenchResult, Loaded, Refused, Timing, timing
from nfexport.benchmark.children import Child, RefusalError
from nfexport.benchmark.feeds import Form, input_forms
from nfexport.benchmark.machine import this_machine
from nfexport.errors import InputError, OnnxFileError
from nfexport.inspection.openvino_ir import is_ir
from nfexport.progress import Progress, Stages
from nfexport.runtimes import runtimes as known_runtimes

RUNTIMES = ("onnxruntime",)
PAUSE = 0.06
"""Seconds between two processes' turns: ONNX Runtime's threads were measured to spin for 26 ms after their last work,
and would take a core from whoever comes next."""


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
    """Time each file in each runtime (see nfexport.runtimes) at each batch.

    Files are ONNX, any producer's, or OpenVINO's IR (.xml) for the runtime 'openvino'. size is height and width
    where a file leaves them free, by default those of its recipe. threads are what each runtime may use for
    one inference, None for its own choice. Results are in the order asked; the first that runs is what the
    others are compared with, at each batch.
    Raises InputError for an unknown runtime or numbers below 1, OnnxFileError if a file is missing or damaged,
    and InputError if nothing can be timed."""
    paths = [Path(file) for file in files]
    _check(paths, runtimes, batches, threads, runs)
    stages = Stages(progress)
    refused: list[Refused] = []
    with contextlib.ExitStack() as stack:
        children: list[Child] = []
        with stages.stage("load"):
            for path in paths:
                for runtime in runtimes:
                    try:
                        if is_ir(path) and runtime != "openvino":
                            raise RefusalError("OpenVINO's IR runs in OpenVINO alone")
                        children.append(stack.enter_context(Child(path, runtime, threads)))
                    except RefusalError as error:
                        refused.append(Refused(file=path, runtime=runtime, batch=None, reason=str(error)))
        timings: list[Timing] = []
        for batch in batches:
            with stages.stage(f"batch {batch}"):
                timings += _measure(children, batch, size, runs, refused, stages)
        if not timings:
            first = refused[0]
            raise InputError(
                f"nothing could be timed: {first.runtime} with {first.file}: {first.reason.rstrip('.')}",
                fix="name a file that the runtime takes, at a batch and size that it takes",
            )
        loaded = tuple(
            Loaded(
                file=child.file,
                runtime=child.runtime,
                version=child.version,
                seconds=child.seconds,
                peak_memory=child.peak_memory(),
            )
            for child in children
        )
    return BenchResult(
        machine=this_machine(),
        threads=threads,
        runs=runs,
        loaded=loaded,
        timings=tuple(timings),
        refused=tuple(refused),
    )


def _measure(
    children: Sequence[Child],
    batch: int,
    size: tuple[int, int] | None,
    runs: int,
    refused: list[Refused],
    stages: Stages,
) -> list[Timing]:
    ready: list[Child] = []
    for child in children:
        try:
            child.feed(_forms(child.file, batch, size))
            ready.append(child)
        except RefusalError as error:
            refused.append(Refused(file=child.file, runtime=child.runtime, batch=batch, reason=str(error)))
    wall: list[list[float]] = [[] for _ in ready]
    cpu: list[list[float]] = [[] for _ in ready]
    for number in range(runs):
        stages.progress.step(f"{number + 1} of {runs}")
        for place in range(len(ready)):
            # rotated, so that nobody always runs behind the same neighbour
            index = (place + number) % len(ready)
            time.sleep(PAUSE)
            try:
                milliseconds, processor = ready[index].run()
            except RefusalError as error:
                child = ready[index]
                raise InputError(
                    f"{child.file} stopped in {child.runtime} at batch {batch}: {str(error).rstrip('.')}",
                    fix="leave it out, or pass a smaller --batch",
                ) from error
            wall[index].append(milliseconds)
            cpu[index].append(processor)
    return [
        timing(child.file, child.runtime, batch, (wall[index], cpu[index]), (wall[0], cpu[0]))
        for index, child in enumerate(ready)
    ]


def _forms(file: Path, batch: int, size: tuple[int, int] | None) -> dict[str, Form]:
    try:
        return input_forms(file, batch=batch, size=size)
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
    for what, number in (("a batch", min(batches)), ("runs", runs), ("threads", 1 if threads is None else threads)):
        if number < 1:
            raise InputError(f"{what} of {number} cannot be timed", fix="pass a number from 1 up")
    for path in paths:
        if not path.is_file():
            raise OnnxFileError(f"there is no file {path}", fix="check the path")

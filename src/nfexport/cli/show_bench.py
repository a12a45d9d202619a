"""Print the result of a benchmark: a table for each batch size, with the fastest file marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from nfexport.benchmark.bench_result import BenchResult, Spread
    from nfexport.cli.console import Console

MEGABYTE = 1e6
CPU = ("CPU ms", "by CPU time")


def show_bench(result: BenchResult, console: Console) -> None:
    """Print one table for each batch size, the refusals, and the machine."""
    loaded = {(entry.file, entry.runtime): entry for entry in result.loaded}
    names = _names([entry.file for entry in result.loaded])
    for batch in dict.fromkeys(timing.batch for timing in result.timings):
        timings = [timing for timing in result.timings if timing.batch == batch]
        fastest = min(timing.wall.median for timing in timings)
        table = Table(box=None, pad_edge=False)
        table.add_column(f"batch {batch}", overflow="fold")
        table.add_column("runtime", no_wrap=True)
        headers = ["ms", "speed-up", "load s", "MB"] + (["quartiles", *CPU] if console.verbose else [])
        for header in headers:
            table.add_column(header, justify="right", no_wrap=True)
        for timing in timings:
            entry = loaded[timing.file, timing.runtime]
            mark = "[green]" if timing.wall.median == fastest else ""
            memory = "" if entry.peak_memory is None else f"{entry.peak_memory / MEGABYTE:.0f}"
            cells = [f"{mark}{timing.wall.median:.4g}", _spread(timing.speed), f"{entry.seconds:.2f}", memory]
            if console.verbose:
                cells.append(f"{timing.wall.low:.4g}–{timing.wall.high:.4g}")
                cells += [f"{timing.cpu.median:.4g}", _spread(timing.cpu_speed)]
            table.add_row(escape(names[timing.file]), timing.runtime, *cells)
        console.out.print(table)
    for refusal in result.refused:
        at = "" if refusal.batch is None else f" at batch {refusal.batch}"
        console.out.print(
            f"[yellow]not timed{at}[/]: {escape(str(refusal.file))} in {refusal.runtime}: {escape(refusal.reason)}"
        )
    _show_conditions(result, console)


def _show_conditions(result: BenchResult, console: Console) -> None:
    machine = result.machine
    threads = "the runtime's default threads" if result.threads is None else f"threads: {result.threads}"
    versions = dict.fromkeys(f"{entry.runtime} {entry.version}" for entry in result.loaded)
    vectors = f", {machine.vectors}" if machine.vectors else ""
    console.out.print(
        f"[dim]{result.runs} interleaved inferences each; medians (quartiles); {threads}; {', '.join(versions)}; "
        f"{machine.cores} cores of {escape(machine.processor)}{vectors}, {machine.system}, Python {machine.python}[/]"
    )


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each file, or its path where two have the same name."""
    count = Counter(file.name for file in dict.fromkeys(files))
    return {file: file.name if count[file.name] == 1 else str(file) for file in files}


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"

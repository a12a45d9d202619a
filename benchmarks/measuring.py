"""What the benchmarks of files share: their command line, the machine, and where results are written."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def main(
    description: str | None,
    *,
    models: Sequence[str],
    rounds: int,
    output: Path,
    measure: Callable[[str, Path, int], Result],
    row: Callable[[Result], str],
    markdown: Callable[[list[Result], Result, int], str],
    software: Result,
) -> int:
    """Measure the models of the command line, or these, and write a Markdown table, and the numbers as JSON
    beside it.

    measure gives the figures of a model, from its name, an empty folder and the number of rounds; row is its
    line in the table, and markdown the page, from all figures, the machine and the rounds. software is what the
    machine is described with besides its processor."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=models)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("-o", "--output", type=Path, default=output)
    options = parser.parse_args()
    results = []
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(name, Path(folder), options.rounds))
        print(row(results[-1]), flush=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), **software}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(
        json.dumps({"machine": machine, "rounds": options.rounds, "results": results}, indent=1) + "\n"
    )
    options.output.write_text(markdown(results, machine, options.rounds), encoding="utf-8")
    print(f"wrote {options.output}")
    return 0


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )

"""Terminal output for people: progress of the stages, and a summary at the end. JSON is printed to stdout only."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console as RichConsole

from nfexport.cli.escaping import complain

if TYPE_CHECKING:
    from pathlib import Path

    from nfexport.inspection.assertions import AssertionResult

_STAGES = {
    "import": "importing torch and timm",
    "model": "building the model",
    "trace": "tracing",
    "passes": "running graph passes",
    "write": "writing",
    "read": "reading the file",
    "verify": "verifying",
    "convert": "converting",
    "verify-converted": "verifying the converted file",
    "evaluate": "evaluating",
    "quantize": "quantising",
    "prove": "comparing the graphs",
    "compare": "comparing",
    "bisect": "looking for the node at fault",
    "measure": "measuring the error",
}


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def report_assertions(path: Path, outcomes: Sequence[AssertionResult]) -> bool:
    """Print one line on stderr for each assertion that fails; say whether all hold."""
    for outcome in outcomes:
        if not outcome.passed:
            complain(f"{path}: {outcome.assertion} fails: {outcome.detail}")
    return all(outcome.passed for outcome in outcomes)


class LiveProgress:
    """Shows the running stage and its current step on a terminal; silent in a pipe."""

    def __init__(self, console: RichConsole) -> None:
        self._console = console
        self._status = console.status("")

    def __enter__(self) -> LiveProgress:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def start(self, stage: str) -> None:
        """Show a stage."""
        self._status.update(_STAGES.get(stage, stage))

    def step(self, text: str) -> None:
        """Show a step of the stage."""
        self._status.update(text)

    def finish(self, stage: str, seconds: float) -> None:
        """Leave a line for a stage that is done."""
        self._console.print(f"[green]✓[/] {_STAGES.get(stage, stage):<28} [dim]{seconds:6.1f} s[/]")


class Console:
    """Prints results for people: tables on stdout, progress on stderr."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self.verbose = verbose
        self.out = RichConsole(quiet=quiet, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def live(self) -> Iterator[LiveProgress | None]:
        """Yield a progress display on a terminal; None if stderr is not a terminal."""
        err = RichConsole(stderr=True, highlight=False)
        if self._quiet or not err.is_terminal or not sys.stderr.isatty():
            yield None
            return
        with LiveProgress(err) as progress:
            yield progress

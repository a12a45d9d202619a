"""Print what is on pictures: for people, as CSV rows or as one JSON document, each as soon as it is known.

Each printer writes to the stream that it is given: while progress is shown on stderr, rich sends what goes to
sys.stdout there too.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import IO, Any, Protocol

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Table

from nfexport.images.classify.classifier import Prediction
from nfexport.images.classify.inference import Skipped
from nfexport.images.files import spelled


class Printer(Protocol):
    """Hears of each picture in order, then of the end."""

    def show(self, prediction: Prediction) -> None: ...

    def skip(self, skipped: Skipped) -> None: ...

    def end(self, facts: Mapping[str, Any]) -> None: ...


class Quiet:
    """A printer that prints nothing."""

    def show(self, prediction: Prediction) -> None:
        pass

    def skip(self, skipped: Skipped) -> None:
        pass

    def end(self, facts: Mapping[str, Any]) -> None:
        pass


class Tables(Quiet):
    """For people: a heading and a table for each picture, at the end what was written."""

    def __init__(self, out: IO[str], head: Mapping[str, Any]) -> None:
        self._out = RichConsole(file=out, highlight=False, soft_wrap=True)
        for name, value in head.items():
            self._out.print(f"[cyan]{name:<8}[/]  {escape(value)}")

    def show(self, prediction: Prediction) -> None:
        if not prediction.classes:
            return
        self._out.print(f"[bold]{escape(spelled(prediction.picture))}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_column(style="dim", justify="right", no_wrap=True)
        for guess in prediction.classes:
            table.add_row(f"  {guess.probability:.2%}", escape(guess.label), str(guess.index))
        self._out.print(table)

    def end(self, facts: Mapping[str, Any]) -> None:
        for what in ("embeddings", "features"):
            if facts[what] is not None:
                self._out.print(f"{what} of {_count(facts['pictures_read'])} in [bold]{escape(facts[what])}[/]")


class CsvRows(Quiet):
    """The columns picture, rank, class, label, probability; one row a class, the best with rank 1."""

    def __init__(self, out: IO[str]) -> None:
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow(["picture", "rank", "class", "label", "probability"])

    def show(self, prediction: Prediction) -> None:
        picture = spelled(prediction.picture)
        for rank, guess in enumerate(prediction.classes, start=1):
            self._rows.writerow([picture, rank, guess.index, guess.label, guess.probability])


class JsonDocument:
    """One JSON object: file, model, runtime, pictures, skipped and what was written.

    It is printed as it grows, but for the skipped pictures, which come at the end."""

    def __init__(self, out: IO[str], head: Mapping[str, Any]) -> None:
        self._out = out
        self._skipped: list[dict[str, str]] = []
        self._separator = "\n"
        fields = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
        out.write(f'{{\n{fields}  "pictures": [')

    def show(self, prediction: Prediction) -> None:
        self._out.write(f"{self._separator}    {json.dumps(prediction.to_dict())}")
        self._separator = ",\n"

    def skip(self, skipped: Skipped) -> None:
        entry = {"picture": spelled(skipped.picture), "problem": skipped.error.problem, "fix": skipped.error.fix}
        self._skipped.append(entry)

    def end(self, facts: Mapping[str, Any]) -> None:
        tail = json.dumps({"skipped": self._skipped, **facts}, indent=2)
        self._out.write("\n  ],\n" + tail.removeprefix("{\n") + "\n")


def _count(pictures: int) -> str:
    return f"{pictures:,} picture{'' if pictures == 1 else 's'}"

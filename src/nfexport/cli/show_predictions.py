"""Print predictions as tables, as CSV or as one JSON document, each as soon as it is known.

Each printer writes to the stream that it is given, as rich redirects sys.stdout while it shows progress on stderr.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import IO, Any, Protocol

from rich.console import Console as RichConsole
from rich.table import Table

from nfexport.cli.escaping import escape
from nfexport.images.classify.classifier import Prediction
from nfexport.images.classify.inference import Skipped
from nfexport.images.files import printable


class Printer(Protocol):
    """Is called for each image in order, then once at the end."""

    def show(self, prediction: Prediction) -> None:
        """Print a prediction."""

    def skip(self, skipped: Skipped) -> None:
        """Take note of an image that was skipped."""

    def end(self, facts: Mapping[str, Any]) -> None:
        """Print what is known at the end: images_read, and the paths in embeddings and features."""


class Quiet:
    """A printer that prints nothing."""

    def show(self, prediction: Prediction) -> None:
        """Print nothing."""

    def skip(self, skipped: Skipped) -> None:
        """Print nothing."""

    def end(self, facts: Mapping[str, Any]) -> None:
        """Print nothing."""


class Tables(Quiet):
    """Prints a heading and a table for each image, and at the end the files that were written."""

    def __init__(self, out: IO[str], head: Mapping[str, Any]) -> None:
        self._out = RichConsole(file=out, highlight=False, soft_wrap=True)
        for name, value in head.items():
            self._out.print(f"[cyan]{name:<8}[/]  {escape(value)}")

    def show(self, prediction: Prediction) -> None:
        """Print the image and its classes; nothing for a file without classes."""
        if not prediction.classes:
            return
        self._out.print(f"[bold]{escape(printable(prediction.image))}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_column(style="dim", justify="right", no_wrap=True)
        for scored in prediction.classes:
            table.add_row(f"  {scored.probability:.2%}", escape(scored.label), str(scored.index))
        self._out.print(table)

    def end(self, facts: Mapping[str, Any]) -> None:
        """Print which files were written."""
        for what in ("embeddings", "features"):
            if facts[what] is not None:
                self._out.print(f"{what} of {_count(facts['images_read'])} in [bold]{escape(facts[what])}[/]")


class CsvRows(Quiet):
    """Prints the columns image, rank, class, label, probability: one row per class, the top class with rank 1."""

    def __init__(self, out: IO[str]) -> None:
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow(["image", "rank", "class", "label", "probability"])

    def show(self, prediction: Prediction) -> None:
        """Print a row for each class."""
        image = printable(prediction.image)
        for rank, scored in enumerate(prediction.classes, start=1):
            self._rows.writerow([image, rank, scored.index, scored.label, scored.probability])


class JsonDocument:
    """Prints one JSON object: file, model, runtime, images, skipped, and the files that were written.

    Predictions are printed one by one, and the skipped images at the end."""

    def __init__(self, out: IO[str], head: Mapping[str, Any]) -> None:
        self._out = out
        self._skipped: list[dict[str, str]] = []
        self._separator = "\n"
        fields = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
        out.write(f'{{\n{fields}  "images": [')

    def show(self, prediction: Prediction) -> None:
        """Print an entry of the list of images."""
        self._out.write(f"{self._separator}    {json.dumps(prediction.to_dict())}")
        self._separator = ",\n"

    def skip(self, skipped: Skipped) -> None:
        """Keep the image for the end."""
        entry = {"image": printable(skipped.image), "problem": skipped.error.problem, "fix": skipped.error.fix}
        self._skipped.append(entry)

    def end(self, facts: Mapping[str, Any]) -> None:
        """Print the skipped images and the facts, and close the object."""
        tail = json.dumps({"skipped": self._skipped, **facts}, indent=2)
        self._out.write("\n  ],\n" + tail.removeprefix("{\n") + "\n")


def _count(images: int) -> str:
    return f"{images:,} image{'' if images == 1 else 's'}"

"""Print an evaluation, and write its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import complain, escape

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.images.evaluate.evaluation import Evaluation


def show_evaluation(result: Evaluation, console: Console, *, per_class: bool, recorded: bool) -> None:
    """Print the accuracy in each runtime, the agreement between runtimes, and with per_class each class."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("file", f"[bold]{escape(str(result.path))}[/]")
    table.add_row("model", escape(result.model_name))
    table.add_row("data", f"{escape(str(result.data.root))}: {_images(result)}")
    table.add_row("classes", f"{len(result.classes):,} with images; {escape(result.data.rule)}")
    table.add_row("transform", escape(result.transform))
    for score in result.scores:
        top5 = "unknown, as the file returns fewer classes" if score.top5 is None else f"{score.top5:.3f} %"
        table.add_row(score.runtime, f"top-1 [bold]{score.top1:.3f} %[/], top-5 {top5}")
        if score.not_a_number:
            table.add_row("[red]NaN[/]", f"in the scores of {score.not_a_number:,} images, which count as wrong")
    for agreement in result.agreements:
        parts = [f"{agreement.second} has the same top-1 for {agreement.top1:.3f} %"]
        if agreement.top5 is not None:
            parts.append(f"the same five for {agreement.top5:.3f} %")
        if agreement.largest_difference is not None:
            parts.append(f"probabilities within {agreement.largest_difference:.1e}")
        table.add_row("agreement", ", ".join(parts))
    known = f", {result.from_journal:,} images from the journal" if result.from_journal else ""
    seconds = result.seconds["evaluate"]
    table.add_row("time", f"{seconds:.1f} s, {result.images_per_second:.1f} images/s{known}")
    if recorded:
        table.add_row("recorded", "in the file's metadata")
    console.out.print(table)
    if per_class:
        _show_classes(result, console)


def _images(result: Evaluation) -> str:
    text = f"{result.images:,} images"
    if result.skipped:
        text += f" read, [red]{len(result.skipped):,} skipped[/]; the accuracy is of those read"
    if result.data.left_out:
        text += f"; {result.data.left_out:,} left out"
    return text


def _show_classes(result: Evaluation, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("class", "label", "images", "top-1 %", "mistaken for"):
        table.add_column(heading, justify="right" if heading in ("class", "images", "top-1 %") else "left")
    names = result.class_names
    for score in result.classes:
        wrong = score.confused_with
        mistaken_for = "" if wrong is None else f"{wrong}{f' {names[wrong]}' if names else ''} ({score.confusions:,})"
        table.add_row(
            str(score.index),
            escape(score.label or ""),
            f"{score.images:,}",
            f"{score.top1:.2f}",
            escape(mistaken_for),
        )
    console.out.print(table)


def report_problems(result: Evaluation, problems: Sequence[str], *, not_recorded: bool) -> None:
    """Print a line on stderr for each image that was skipped, and for each expectation that is not met."""
    for _, reason in result.skipped:
        complain(f"skipped: {reason}")
    for problem in problems:
        complain(f"{result.path}: {problem}")
    if not_recorded:
        complain(f"{result.path}: the accuracy was not recorded, for these reasons")


def write_tables(result: Evaluation, *, csv: Path | None, confusion: Path | None) -> None:
    """Write the classes as CSV, and the confusion matrix as PNG. Raises OutputError."""
    from nfexport.graph.atomic_files import staged, write_files

    if csv is not None:
        with staged(csv, option="--csv") as partial:
            partial.write_text(result.to_csv(), encoding="utf-8")
    if confusion is not None:
        from nfexport.images.evaluate.confusion import png

        content = png(result)
        with staged(confusion, option="--confusion") as partial:
            write_files(partial.parent, {partial.name: content})

"""Print what an export made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET
from rich.table import Table

from nfexport.cli.escaping import escape
from nfexport.cli.facts_table import add_facts, add_preprocessing, at_size, facts_table
from nfexport.cli.show_quantization import add_quantization
from nfexport.cli.show_verification import add_verification
from nfexport.passes import registry
from nfexport.passes.base import Bundle, Stage

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.passes.report import PassReport
    from nfexport.workflows.results import ExportResult


def show_export(result: ExportResult, console: Console) -> None:
    """Print the file, what its passes did, and the verdict on it."""
    table = facts_table()
    table.add_row("file", f"[bold]{escape(str(result.path))}[/]")
    recipe = result.recipe
    table.add_row("model", escape(recipe.model_name) + at_size(recipe.stored_image_size))
    own = recipe.provenance is not UNSET  # there is no --pretrained for it
    table.add_row("weights", recipe.weights.describe().partition(";" if own else "\n")[0])
    for note in result.notes:
        table.add_row("note", escape(note))
    if recipe.options.mean is not None:
        add_preprocessing(table, recipe)
    add_facts(table, result.facts)
    if result.facts.computed_conv_weights and "fold-ws" not in {report.name for report in result.passes}:
        table.add_row(
            "fold-ws", f"{result.facts.computed_conv_weights} convolutions compute their weight; add --fold-ws"
        )
    _add_passes(table, result.passes, verbose=console.verbose)
    if console.verbose:
        table.add_row("recipe", recipe.digest)
    if result.verification is None:
        table.add_row("verified", "no (--no-verify)")
    else:
        add_verification(table, result.verification, verbose=console.verbose)
    if result.quantization is not None:
        add_quantization(table, result.quantization, verbose=console.verbose)
    if (other := result.converted) is not None:
        files = " and ".join(
            [f"[bold]{escape(str(other.path))}[/]", *(escape(path.name) for path in other.files[1:])]
        )
        values = "".join(f", {value}" for value in other.options.values())
        table.add_row(escape(other.format), f"{files}{escape(values)}, {other.size:,} bytes")
        if other.verification is not None:
            add_verification(table, other.verification, verbose=console.verbose)
    table.add_row("time", ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items()))
    console.out.print(table)


def _add_passes(table: Table, reports: Sequence[PassReport], *, verbose: bool) -> None:
    """Add what the passes did that somebody asked for, and what they left alone."""
    for report in reports:
        cls = registry.get(report.name)
        if Bundle.OPTIMIZE not in cls.implied_by or Bundle.EXPORT in cls.implied_by:
            continue
        if report.changed or cls.stage is Stage.FOLDS:
            table.add_row(report.name, escape(report.summary))
    for report in reports:
        for node, reason in report.left_alone.items():
            if verbose or report.name == "fold-ws":
                table.add_row("left alone", escape(f"{node}: {reason} ({report.name})"))
    if verbose:
        for report in reports:
            table.add_row(f"pass {report.name}", escape(report.summary))

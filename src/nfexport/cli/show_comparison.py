"""Show what a comparison of two models found: as a table, or as an HTML page."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import escape
from nfexport.cli.facts_table import facts_table
from nfexport.cli.show_diagnosis import add_diagnosis
from nfexport.errors import MissingPackage

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.verification.output_likeness import Likeness
    from nfexport.workflows.compare_result import CompareResult

TEMPLATE = "comparison.html.j2"


def show_comparison(result: CompareResult, console: Console) -> None:
    """Print the sides, how alike they are, what each is off, and the verdict."""
    table = facts_table()
    for side in result.sides:
        runs = f" ({escape(side.runtime)})" if side.runtime else ""
        table.add_row(side.label, f"[bold]{escape(side.title)}[/]{runs}, {side.precision}")
    table.add_row("reference", escape(result.reference or f"none: {result.without}"))
    table.add_row("inputs", escape(f"{result.batches} batches, {result.inputs}"))
    for note in result.notes:
        table.add_row("note", escape(note))
    for side in result.sides:
        if side.report is not None:
            table.add_row(f"{side.label} against it", escape(side.report.summary()))
            if (caution := side.report.caution()) is not None:
                table.add_row("[yellow]caution[/]", escape(caution))
    if result.direct is not None:
        table.add_row("B against A", escape(result.direct.summary()))
    if result.diagnosis is not None:
        add_diagnosis(table, result.diagnosis, verbose=console.verbose)
    console.out.print(table)
    console.out.print(likeness_table(result))
    if console.verbose:
        for one in result.likeness:
            for worst in one.worst:
                console.out.print(
                    escape(f"{one.output}: entry {worst.entry} of '{worst.case}' differs by {worst.max_relative:.1e}")
                )
    console.out.print("[green]passed[/]" if result.passed else "[red]FAILED[/]", escape(result.verdict))


def likeness_table(result: CompareResult) -> Table:
    """Return the outputs of B next to those of A, a row for each output."""
    table = Table(box=None, pad_edge=False)
    for column in ("B against A", "difference / range", "SQNR", "cosine", "top-1", "top-5", "worst input"):
        table.add_column(column)
    for one in result.likeness:
        table.add_row(escape(one.output), *map(escape, figures(one)))
    return table


def figures(one: Likeness) -> tuple[str, ...]:
    """Return what is shown of an output: difference, SQNR, cosine, top-1, top-5, and the worst input."""
    if one.reason:
        return (one.reason, "", "", "", "", "")
    if one.max_relative is None and one.equal_share is not None:
        return (f"{one.equal_share:.2%} of the values are equal", "", "", "", "", "")
    shares = ["" if share is None else f"{share:.0%}" for share in (one.top1, one.top5)]
    worst = f"{one.worst[0].case}, entry {one.worst[0].entry}" if one.worst else ""
    return (
        "equal" if one.equal else f"{one.max_relative or 0:.1e}",
        "" if one.sqnr is None else f"{one.sqnr:.1f} dB",
        "" if one.cosine is None else f"{one.cosine:.7f}",
        *shares,
        worst,
    )


def write_page(result: CompareResult, target: Path) -> None:
    """Write the result as one self-contained HTML page.

    Raises MissingPackage without Jinja2, OutputError if the file cannot be written."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingPackage(
            "--report needs jinja2, which is not installed", fix="install it with: pip install 'nfexport[report]'"
        ) from error
    from nfexport.graph.atomic_files import staged

    source = importlib.resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(source).render(result=result, figures=figures)
    with staged(target, option="--report") as partial:
        partial.write_text(text, encoding="utf-8")

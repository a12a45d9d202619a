"""Print what a verification found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import escape
from nfexport.cli.facts_table import at_size, facts_table
from nfexport.cli.show_diagnosis import add_diagnosis, add_self_test

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.verification.verification_report import VerificationReport
    from nfexport.workflows.results import VerifyResult


def show_verification(result: VerifyResult, console: Console) -> None:
    """Print the reports, and where the file is at fault."""
    table = facts_table()
    table.add_row("file", f"[bold]{escape(str(result.path))}[/]")
    table.add_row("model", escape(result.model_name) + at_size(result.image_size))
    table.add_row("weights", result.weights.describe())
    for report in result.reports:
        add_verification(table, report, verbose=console.verbose)
    for disagreement in result.disagreements:
        table.add_row("[red]disagrees[/]", escape(disagreement))
    if result.structure is not None:
        name = "[red]structure[/]" if result.structure.failed else "structure"
        table.add_row(name, escape(result.structure.summary()))
        if console.verbose:
            for difference in result.structure.differences:
                table.add_row("", escape(difference))
    if result.diagnosis is not None:
        add_diagnosis(table, result.diagnosis, verbose=console.verbose)
    elif not result.report.passed and not result.report.tolerance.startswith("int8"):
        table.add_row("where", "add --bisect to see the first node at fault")
    if result.self_test is not None:
        add_self_test(table, result.self_test, verbose=console.verbose)
    table.add_row("result", "[green]passed[/]" if result.passed else "[red]FAILED[/]")
    console.out.print(table)


def add_verification(table: Table, report: VerificationReport, *, verbose: bool) -> None:
    """Add the verdict of one runtime, with figures."""
    table.add_row("verified", escape(report.summary()))
    if (caution := report.caution()) is not None:
        table.add_row("[yellow]caution[/]", escape(caution))
    if report.weights is not None:
        table.add_row("numbers", escape(report.weights.summary()))
    facts = report.to_dict()
    figures = {"top-1": facts["top1_agreement"], "top-5": facts["top5_agreement"]}
    agreement = [f"{name} {share:.0%}" for name, share in figures.items() if share is not None]
    if facts["min_cosine"] is not None:
        agreement.append(f"cosine {facts['min_cosine']:.9f}")
    table.add_row("agreement", ", ".join(agreement))
    if verbose:
        table.add_row("tolerance", report.tolerance)
        for case in report.cases:
            c = case.comparison
            error = "" if c.max_relative is None else f"largest error {c.max_relative:.1e}"
            table.add_row("", escape(f"{case.name}, batch {case.batch}: {error} {c.reason}".rstrip()))

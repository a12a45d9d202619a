"""The results of a bisection and of a self-test, as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from rich.table import Table

    from nfexport.verification.diagnosis.diagnosis import Diagnosis
    from nfexport.verification.self_test import SelfTest


def add_diagnosis(table: Table, diagnosis: Diagnosis, *, verbose: bool) -> None:
    """Add the first node at fault and what kind of fault it looks like; with verbose, a row for each module."""
    found = diagnosis.bisection
    table.add_row("where", escape(f"on '{found.case}', batch {found.batch}: {found.summary()}"))
    if found.culprit is not None and found.culprit.module:
        table.add_row("", escape(f"in module {found.culprit.module}"))
    for finding in diagnosis.findings:
        table.add_row("why", escape(finding))
    if verbose:
        from nfexport.verification.diagnosis.html_page import by_module

        for row in by_module(found.tensors):
            worst = row["worst"].match
            verdict = "ok" if worst.excess <= 1 or row["worst"].reached else "[red]differs[/]"
            last = row["last"]
            shape = " × ".join(map(str, last.shape))
            table.add_row(
                "", f"{verdict} {escape(row['module'])}: {row['tensors']} tensors, {shape}, {last.match.relative:.1e}"
            )


def add_self_test(table: Table, result: SelfTest, *, verbose: bool) -> None:
    """Add the result; with verbose, a row for each fault that was tried."""
    table.add_row("self-test", escape(result.summary()))
    if verbose:
        for trial in result.trials:
            size = "refused by the runtime" if trial.excess is None else f"{trial.excess:.3g} times what is allowed"
            mark = "noticed" if trial.noticed else "[red]NOT noticed[/]"
            table.add_row("", f"{mark}: {escape(trial.kind)} at {escape(trial.node)}, {size}")

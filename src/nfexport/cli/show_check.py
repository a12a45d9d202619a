"""Print what each target does not support in a file."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.targets.findings import CheckResult, Finding, TargetCheck

MOST = 3
"""Nodes with the same problem that are listed before the rest is counted."""

WORDS = {"refused": "[red]refused[/]", "wrong": "[red]wrong numbers[/]", "caution": "[yellow]caution[/]"}


def show_check(result: CheckResult, console: Console) -> None:
    """Print one line for each target, and its findings below, equal ones grouped."""
    for target in result.targets:
        verdict = "[green]supported[/]" if target.passed else "[red]not supported[/]"
        tried = f"loaded in {target.tried}" if target.tried and target.passed else ""
        how = tried or "by its table" + (f"; not tried: {target.not_tried}" if console.verbose else "")
        console.out.print(
            f"[bold]{target.target}[/] ({escape(target.title)} {escape(target.version)}): {verdict} "
            f"[dim]({escape(how)})[/]"
        )
        _show_findings(target, console)
        if console.verbose:
            console.out.print(f"  [dim]table after {escape(target.source)}[/]")


def _show_findings(target: TargetCheck, console: Console) -> None:
    def alike(finding: Finding) -> tuple[str, str, str]:
        return finding.effect, finding.operator or "", finding.problem

    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in target.findings:
        groups.setdefault(alike(finding), []).append(finding)
    for findings in groups.values():
        first = findings[0]
        shown = findings if console.verbose else list(itertools.islice(findings, MOST))
        nodes = ", ".join(f"'{finding.node}'" for finding in shown if finding.node is not None)
        more = f" and {len(findings) - len(shown)} more (-v lists them)" if len(findings) > len(shown) else ""
        where = f"{escape(nodes)}{more} ({escape(first.operator)}): " if first.operator is not None else ""
        console.out.print(f"  {WORDS[first.effect]}  {where}{escape(first.problem)}")
        console.out.print(f"      [dim]help:[/] {escape(first.fix)}")

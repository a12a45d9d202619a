"""Print the plan of a surgery, or its ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nfexport.cli.escaping import escape
from nfexport.passes import registry
from nfexport.passes.ledger import SHOWN, LedgerEntry

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.workflows.surgery import SurgeryResult


def show_plan(result: SurgeryResult, console: Console) -> None:
    """Print the passes in the order in which they would run."""
    console.out.print(f"[bold]plan[/] for {escape(result.source)}; nothing is written")
    for number, step in enumerate(result.steps, start=1):
        console.out.print(f"{number:3}. [bold]{step.name}[/]{_params(step.params)}")
        cls = registry.get(step.name)
        console.out.print(f"     {escape(cls.headline())}")
        _print_formula(console, cls.formula)


def show_surgery(result: SurgeryResult, console: Console) -> None:
    """Print the ledger and the result."""
    for entry in result.ledger:
        if entry.did_something or console.verbose:
            _show_entry(entry, console)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("file", f"[bold]{escape(str(result.path))}[/]")
    facts = result.facts
    if facts is not None:
        opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts.opset_imports.items())
        table.add_row("opset", escape(opsets))
        table.add_row("nodes", f"{facts.node_count:,}")
        table.add_row("size", f"{facts.total_size:,} bytes")
    report = result.verification
    table.add_row("compared", escape(report.summary()) if report is not None else "[yellow]no: --no-verify[/]")
    console.out.print(table)


def _show_entry(entry: LedgerEntry, console: Console) -> None:
    console.out.print(f"[bold]{entry.name}[/]{_params(entry.params)}: {escape(entry.summary)}")
    _print_formula(console, entry.formula)
    facts = [_change("nodes", entry.nodes_before, entry.nodes_after)]
    facts.append(_change("bytes of initializers", entry.bytes_before, entry.bytes_after))
    if entry.largest_weight_error is not None:
        facts.append(f"largest weight error {entry.largest_weight_error:.1e}")
    console.out.print(f"     {'; '.join(facts)}", style="dim")
    if entry.tensors:
        shown = entry.tensors if console.verbose else entry.tensors[:SHOWN]
        more = len(entry.tensors) - len(shown)
        text = ", ".join(shown) + (f" and {more} more" if more else "")
        console.out.print(f"     tensors {escape(text)}", style="dim")
    for node, reason in entry.left_alone.items():
        console.out.print(f"     [yellow]left alone[/] {escape(node)}: {escape(reason)}")


def _change(what: str, before: int, after: int) -> str:
    return f"{what} {before:,}" if before == after else f"{what} {before:,} → {after:,}"


def _print_formula(console: Console, text: str) -> None:
    for line in text.splitlines():
        console.out.print(f"       {escape(line)}", style="dim")


def _params(params: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name} {value}" for name, value in params.items() if value not in (None, False, {}, []))
    return f" [dim]({escape(given)})[/]" if given else ""

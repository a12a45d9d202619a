"""Print whether a file could be built again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.cli.escaping import escape
from nfexport.cli.facts_table import facts_table

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.workflows.rebuild import RebuildResult


def show_rebuild(result: RebuildResult, console: Console) -> None:
    """Print the digests, and what differs."""
    table = facts_table()
    table.add_row("file", f"[bold]{escape(str(result.path))}[/]")
    if result.rebuilt is not None:
        table.add_row("rebuilt", f"[bold]{escape(str(result.rebuilt))}[/]")
    for name, digest in result.digests.items():
        other = result.rebuilt_digests.get(name)
        table.add_row("sha256", f"{digest} {escape(name)}" + ("" if digest == other else f" (rebuilt: {other})"))
    for difference in result.differences if console.verbose else result.differences[:1]:
        table.add_row("[red]differs[/]", escape(difference))
    table.add_row("result", "[green]equal, byte by byte[/]" if result.reproduced else "[red]NOT EQUAL[/]")
    console.out.print(table)

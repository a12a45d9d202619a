"""Print the differences between two files."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.inspection.difference import Difference

MOST = 20
"""Differences of one part that are listed before the rest is counted."""


def show_difference(difference: Difference, console: Console) -> None:
    """Print a table of the differences, and one closing line."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "", *(escape(str(facts.path)) for facts in (difference.first, difference.second))):
        table.add_column(column, overflow="fold")
    listed: collections.Counter[str] = collections.Counter()
    for change in difference.changes:
        listed[change.part] += 1
        if listed[change.part] <= MOST or console.verbose:
            detail = change.detail or _text(change.second)
            table.add_row(change.part, escape(change.name), escape(_text(change.first)), escape(detail))
    if difference.changes:
        console.out.print(table)
    for part, count in listed.items():
        if count > MOST and not console.verbose:
            console.out.print(f"{count - MOST} more in {part}; add -v")
    sizes = f"{difference.first.total_size:,} and {difference.second.total_size:,} bytes"
    if difference.equal:
        console.out.print(f"no differences ({sizes})")
    else:
        console.out.print(f"{len(difference.changes)} differences ({sizes})")


def _text(value: Any) -> str:
    return "—" if value is None else str(value)

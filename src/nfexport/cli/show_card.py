"""Print where a card was written, and what the file does not say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from nfexport.cards.contents import Card
    from nfexport.cli.console import Console


def show_card(card: Card, target: Path, console: Console) -> None:
    """Print one line for the card, one for what it calls unknown, and with -v how the file was made."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("card", f"[bold]{escape(str(target))}[/] of {escape(card.file_name)}")
    if card.unknown:
        table.add_row("unknown", ", ".join(card.unknown))
    if console.verbose and card.making is not None:
        for line in card.making.commands:
            table.add_row("made by", escape(line))
    console.out.print(table)

"""`nfexport passes [NAME]`."""

from __future__ import annotations

from typing import Any

import click

from nfexport.cli.options import reporting
from nfexport.cli.sections import SectionedCommand, option


@click.command(name="passes", cls=SectionedCommand)
@click.argument("name", required=False)
@option("--markdown", is_flag=True, help="Print the table of docs/passes.", section="Reporting")
@reporting
def command(name: str | None, markdown: bool, as_json: bool, quiet: bool, verbose: bool) -> int:
    """List the graph passes in execution order, including those of other packages.

    With NAME, show one: what it does, its formula, its options and its parameters.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.passes import catalogue, registry

    classes = registry.all_passes() if name is None else (registry.get(name),)
    if as_json:
        entries = [catalogue.describe(cls) for cls in classes]
        print_json(entries if name is None else entries[0])
        return 0
    if markdown:
        click.echo(catalogue.markdown(classes), nl=False)
        return 0
    console = Console(quiet=quiet, verbose=verbose)
    for cls in classes:
        _show(catalogue.describe(cls), console, whole=name is not None or verbose)
    return 0


def _show(entry: dict[str, Any], console: Any, *, whole: bool) -> None:
    from nfexport.cli.escaping import escape

    console.out.print(f"[bold]{entry['name']:<16}[/] {escape(entry['does'])}")
    if not whole:
        return
    rows = {
        "formula": entry["formula"],
        "stage": entry["stage"],
        "options": ", ".join(entry["options"]),
        "implied by": ", ".join(entry["implied_by"]),
        "may change": ", ".join(entry["changes"]) or "nothing visible to a caller",
        "parameters": ", ".join(f"{key}: {kind}" for key, kind in entry["parameters"].items()),
        "from": entry["origin"],
    }
    for key, text in rows.items():
        if text:
            console.out.print(f"  [cyan]{key:<12}[/] {escape(text)}")

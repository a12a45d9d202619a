"""`nfexport list [PATTERN]`."""

from __future__ import annotations

import dataclasses

import click

from nfexport.cli.options import reporting
from nfexport.errors import UnknownModelError


@click.command(name="list")
@click.argument("pattern", required=False)
@reporting
def command(pattern: str | None, as_json: bool, quiet: bool, verbose: bool) -> int:
    """List timm's architectures whose name has PATTERN in it ('nfnet', 'nf_*'), and their tags.

    A 'w' marks those with weight standardisation, which --fold-ws folds.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.sources.timm.catalogue import list_architectures

    entries = list_architectures(pattern)
    if not entries:
        raise UnknownModelError(f"timm has no architecture like '{pattern}'", fix="try a shorter part of the name")
    if as_json:
        print_json([dataclasses.asdict(entry) for entry in entries])
    else:
        console = Console(quiet=quiet, verbose=verbose)
        for entry in entries:
            mark = "w" if entry.weight_standardised else " "
            tags = ", ".join(entry.tags) or "no trained weights"
            console.out.print(f"{mark} {entry.architecture:<36} [dim]{tags}[/]")
    return 0

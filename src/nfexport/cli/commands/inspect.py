"""`nfexport inspect FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from nfexport.cli.options import reporting


@click.command(name="inspect", short_help="Show what is in an ONNX file.")
@click.argument("file", type=click.Path(path_type=Path))
@reporting
def command(file: Path, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Show interface, operators, parameters and recipe of any ONNX file."""
    from nfexport.cli.console import Console, print_json
    from nfexport.inspection import inspect

    facts = inspect(file)
    if as_json:
        print_json(facts.to_dict())
    else:
        Console(quiet=quiet, verbose=verbose).show_facts(facts)
    return 0

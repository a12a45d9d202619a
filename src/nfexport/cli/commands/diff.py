"""`nfexport diff A.onnx B.onnx`."""

from __future__ import annotations

from pathlib import Path

import click

from nfexport.cli.options import reporting


@click.command(name="diff")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--atol", type=click.FloatRange(min=0), default=0.0, help="Ignore differences of values up to this one."
)
@reporting
def command(first: Path, second: Path, atol: float, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Compare two ONNX files: interface, opset, operators, initializers, nodes and metadata.

    The files are not run. Exits with 1 if they differ.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_difference import show_difference
    from nfexport.inspection.difference import diff

    difference = diff(first, second, atol=atol)
    if as_json:
        print_json(difference.to_dict())
    else:
        show_difference(difference, Console(quiet=quiet, verbose=verbose))
    return 0 if difference.equal else 1

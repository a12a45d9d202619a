"""`nfexport inspect FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from nfexport.cli.options import asserting, reporting


@click.command(name="inspect", short_help="Show what is in an ONNX file.")
@click.argument("file", type=click.Path(path_type=Path))
@asserting
@reporting
def command(
    file: Path,
    no_op: tuple[str, ...],
    op_count: tuple[str, ...],
    max_size: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show interface, operators, parameters and recipe of any ONNX file.

    With assertions: exits with 1, and says one line for each, if they do not hold.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.inspection import inspect
    from nfexport.inspection.assertions import Assertions

    assertions = Assertions(no_op=no_op, op_count=op_count, max_size=max_size)
    assertions.check_syntax()
    facts = inspect(file)
    outcomes = assertions.check(facts)
    if as_json:
        print_json({**facts.to_dict(), "assertions": [dataclasses.asdict(outcome) for outcome in outcomes]})
    else:
        Console(quiet=quiet, verbose=verbose).show_facts(facts)
    return 0 if report_assertions(file, outcomes) else 1

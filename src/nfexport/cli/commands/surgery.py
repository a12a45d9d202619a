"""`nfexport surgery IN.onnx -o OUT.onnx …`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from nfexport.cli.declared_options import keywords, options_of
from nfexport.cli.options import asserting, reporting, seed_option, target_option, verifying
from nfexport.cli.sections import SectionedCommand, option


@click.command(name="surgery", cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@options_of("surgery")
@target_option(None)
@option("--force", is_flag=True, help="Repeat preprocessing steps that the file already has.", section="Graph")
@option("--dry-run", is_flag=True, help="Show the plan, and write nothing.", section="Output file")
@verifying
@seed_option("Seed of the comparison.")
@asserting
@reporting
def command(
    file: Path,
    target: Path | None,
    force: bool,
    dry_run: bool,
    verify: bool,
    seed: int,
    no_op: tuple[str, ...],
    op_count: tuple[str, ...],
    max_size: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> int:
    """Apply graph passes to FILE, from any producer, and write the result with -o.

    The passes run in a fixed order, regardless of the order of the options. The result is compared with
    FILE in ONNX Runtime, through the preprocessing that was added; if it differs, nothing is written.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.cli.show_surgery import show_plan, show_surgery
    from nfexport.errors import EXIT_OK, EXIT_VERIFICATION, RecipeError
    from nfexport.inspection.assertions import Assertions
    from nfexport.workflows.surgery import surgery

    if target is None and not dry_run:
        raise RecipeError("no output file is given", fix="pass -o OUT.onnx, or --dry-run")
    assertions = Assertions(no_op=no_op, op_count=op_count, max_size=max_size)
    assertions.check_syntax()
    asked = keywords("surgery", values)
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = surgery(
            file, target, force=force, dry_run=dry_run, verify=verify, seed=seed, progress=progress, **asked
        )
    outcomes = assertions.check(result.facts) if result.facts is not None else ()
    if as_json:
        print_json({**result.to_dict(), "assertions": [dataclasses.asdict(outcome) for outcome in outcomes]})
    elif dry_run:
        show_plan(result, console)
    else:
        show_surgery(result, console)
    return EXIT_OK if report_assertions(target or file, outcomes) else EXIT_VERIFICATION

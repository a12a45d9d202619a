"""`nfexport surgery IN.onnx -o OUT.onnx …`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import BatchType, asserting, external_data_option, reporting
from nfexport.cli.pass_options import NamesType, back_options, front_options, speed_options


@click.command(name="surgery", short_help="Apply graph passes to any ONNX file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", "target", type=click.Path(path_type=Path), help="File to write.")
@click.option("--fold-ws", is_flag=True, help="Fold weight standardisation into constant weights.")
@click.option("--fold-bn", is_flag=True, help="Fold BatchNormalization into the convolution before it.")
@click.option("--fold-scales", is_flag=True, help="Fold constant factors between layers into weights.")
@speed_options
@front_options
@back_options
@click.option("--logits", metavar="NAME", help="The output that --output starts from, where there are several.")
@click.option("--extract-inputs", type=NamesType(), default=(), help="Cut the model behind these tensors.")
@click.option("--extract-outputs", type=NamesType(), default=(), help="Cut the model at these tensors.")
@click.option("--batch", type=BatchType(), help="Another batch size.")
@click.option("--opset", type=int, help="Carry the graph to this ONNX opset, exactly.")
@click.option("--force", is_flag=True, help="Do in front of the network what the file has had already.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and write nothing.")
@external_data_option
@click.option("--verify/--no-verify", default=True, show_default=True, help="Compare the outcome with the file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the comparison.")
@asserting
@reporting
def command(
    file: Path,
    target: Path | None,
    rename: tuple[tuple[str, str], ...],
    dry_run: bool,
    no_op: tuple[str, ...],
    op_count: tuple[str, ...],
    max_size: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> int:
    """Apply graph passes to FILE, whoever made it, and write the outcome with -o.

    The passes run in their own order, whatever the order of the options. The outcome is compared with
    FILE in ONNX Runtime, through the preprocessing that was added; if it differs, nothing is written.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.cli.show_surgery import show_plan, show_surgery
    from nfexport.errors import EXIT_OK, EXIT_VERIFICATION, RecipeError
    from nfexport.inspection.assertions import Assertions
    from nfexport.workflows.surgery import surgery

    if target is None and not dry_run:
        raise RecipeError("there is no file to write the outcome to", fix="pass -o OUT.onnx, or --dry-run")
    assertions = Assertions(no_op=no_op, op_count=op_count, max_size=max_size)
    assertions.check_syntax()
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = surgery(file, target, rename=dict(rename), dry_run=dry_run, progress=progress, **options)
    outcomes = assertions.check(result.facts) if result.facts is not None else ()
    if as_json:
        print_json({**result.to_dict(), "assertions": [dataclasses.asdict(outcome) for outcome in outcomes]})
    elif dry_run:
        show_plan(result, console)
    else:
        show_surgery(result, console)
    return EXIT_OK if report_assertions(target or file, outcomes) else EXIT_VERIFICATION

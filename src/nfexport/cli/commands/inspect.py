"""`nfexport inspect FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from nfexport.cli.options import SizeType, asserting, reporting

if TYPE_CHECKING:
    from nfexport.errors import InputError
    from nfexport.inspection.cost import Cost


@click.command(name="inspect", short_help="Show what is in an ONNX file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cost", "wants_cost", is_flag=True, help="Fail if operations cannot be counted, and not just say so.")
@click.option(
    "--count",
    "rule",
    type=click.Choice(["omz", "timm"]),
    help="The rule to count by: the Open Model Zoo's (default), or that of timm's tables.",
)
@click.option("--layers", is_flag=True, help="Show what each layer costs.")
@click.option(
    "--sort",
    type=click.Choice(["graph", "macs", "flops", "activations", "parameters"]),
    default="graph",
    show_default=True,
    help="The order of layers: the graph's, or the largest first.",
)
@click.option("--batch", type=click.IntRange(min=1), help="The batch to count at, where it is symbolic (default 1).")
@click.option(
    "--size",
    type=SizeType(),
    help="The height and width to count at, where they are symbolic (default: the recipe's).",
)
@asserting
@reporting
def command(
    file: Path,
    wants_cost: bool,
    rule: Literal["omz", "timm"] | None,
    layers: bool,
    sort: str,
    batch: int | None,
    size: int | tuple[int, int] | str | None,
    no_op: tuple[str, ...],
    op_count: tuple[str, ...],
    max_size: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show interface, operators, parameters, cost and recipe of any ONNX file.

    With assertions: exits with 1, and says one line for each, if they do not hold.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.cli.show_cost import show_layers
    from nfexport.errors import InputError, OnnxFileError
    from nfexport.inspection import inspect
    from nfexport.inspection.assertions import Assertions
    from nfexport.inspection.cost import count_cost

    assertions = Assertions(no_op=no_op, op_count=op_count, max_size=max_size)
    assertions.check_syntax()
    pixels = _pixels(size)
    facts = inspect(file)
    outcomes = assertions.check(facts)
    cost: Cost | InputError
    try:
        cost = count_cost(file, rule=rule or "omz", batch=batch or 1, size=pixels)
    except InputError as error:
        if wants_cost or rule or layers or batch or pixels or isinstance(error, OnnxFileError):
            raise
        cost = error
    if as_json:
        counted = not isinstance(cost, InputError)
        print_json(
            {
                **facts.to_dict(),
                "cost": cost.to_dict(layers=layers) if not isinstance(cost, InputError) else None,
                "cost_error": None if counted else str(cost),
                "assertions": [dataclasses.asdict(outcome) for outcome in outcomes],
            }
        )
    else:
        console = Console(quiet=quiet, verbose=verbose)
        console.show_facts(facts, cost)
        if layers and not isinstance(cost, InputError):
            show_layers(cost, console, sort=sort)
    return 0 if report_assertions(file, outcomes) else 1


def _pixels(size: int | tuple[int, int] | str | None) -> tuple[int, int] | None:
    if isinstance(size, str):
        raise click.BadParameter(
            f"'{size}' names no size of a file; pass a number of pixels or HxW", param_hint="--size"
        )
    return (size, size) if isinstance(size, int) else size

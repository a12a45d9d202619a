"""`nfexport inspect FILE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfexport.cli.options import asserting, reporting
from nfexport.cli.parameter_types import SizeType
from nfexport.cli.sections import SectionedCommand, option

if TYPE_CHECKING:
    from nfexport.errors import InputError
    from nfexport.inspection.cost import Cost


@click.command(name="inspect", cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@option("--cost", "wants_cost", is_flag=True, help="Fail if operations cannot be counted.", section="Graph")
@option(
    "--count",
    "rule",
    type=click.Choice(["omz", "timm"]),
    help="Counting rule: that of the Open Model Zoo, or of timm's tables.  [default: omz]",
    section="Graph",
)
@option("--layers", is_flag=True, help="Show the cost of each layer.", section="Graph")
@option(
    "--sort",
    type=click.Choice(["graph", "macs", "flops", "activations", "parameters"]),
    default="graph",
    show_default=True,
    help="Order of the layers: the graph's, or the largest first.",
    section="Graph",
)
@option(
    "--batch",
    type=click.IntRange(min=1),
    help="Batch size to count at, where it is symbolic.  [default: 1]",
    section="Graph",
)
@option(
    "--size",
    type=SizeType(),
    help="Height and width to count at, where they are symbolic.  [default: the recipe's]",
    section="Graph",
)
@asserting
@reporting
def command(file: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Show interface, operators, parameters, cost and recipe of any ONNX file.

    With assertions: exits with 1, and prints one line for each that does not hold.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.cli.show_cost import show_layers
    from nfexport.cli.show_facts import show_facts
    from nfexport.errors import InputError
    from nfexport.inspection import inspect
    from nfexport.inspection.assertions import Assertions

    assertions = Assertions(**{name: options[name] for name in ("no_op", "op_count", "max_size")})
    assertions.check_syntax()
    facts = inspect(file)
    results = assertions.check(facts)
    cost = _count(file, options)
    counted = None if isinstance(cost, InputError) else cost
    if as_json:
        print_json(
            {
                **facts.to_dict(),
                "cost": None if counted is None else counted.to_dict(layers=options["layers"]),
                "cost_error": str(cost) if counted is None else None,
                "assertions": [dataclasses.asdict(result) for result in results],
            }
        )
    else:
        console = Console(quiet=quiet, verbose=verbose)
        show_facts(facts, console, cost)
        if options["layers"] and counted is not None:
            show_layers(counted, console, sort=options["sort"])
    return 0 if report_assertions(file, results) else 1


def _count(file: Path, options: Mapping[str, Any]) -> Cost | InputError:
    """Return what an inference costs, or why that cannot be counted, unless it was asked for."""
    from nfexport.errors import InputError, OnnxFileError
    from nfexport.inspection.cost import count_cost

    rule, batch, pixels = options["rule"], options["batch"], options["size"]
    size = (pixels, pixels) if isinstance(pixels, int) else pixels
    try:
        return count_cost(file, rule=rule or "omz", batch=batch or 1, size=size)
    except InputError as error:
        if options["wants_cost"] or rule or options["layers"] or batch or size or isinstance(error, OnnxFileError):
            raise
        return error

"""`nfexport verify FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import asserting, reporting
from nfexport.cli.verify_options import (
    check_pages,
    check_providers,
    looking,
    named_model,
    naming,
    running,
    write_junit,
    write_pages,
)
from nfexport.errors import EXIT_VERIFICATION


@click.command(name="verify", short_help="Compare an ONNX file with the model that it claims to be.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="The weights, for a file that was exported from a checkpoint.",
)
@running
@naming
@looking
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the inputs.")
@click.option("--rtol", type=click.FloatRange(min=0), help="Fixed relative bound, in place of the default rule.")
@click.option("--atol", type=click.FloatRange(min=0), help="Fixed absolute bound, in place of the default rule.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML too.")
@asserting
@reporting
def command(
    file: Path,
    checkpoint: Path | None,
    runtimes: tuple[str, ...],
    providers: tuple[str, ...],
    model: str | None,
    bisect: bool,
    self_test: bool,
    report: Path | None,
    plot: Path | None,
    junit: Path | None,
    seed: int,
    rtol: float | None,
    atol: float | None,
    no_op: tuple[str, ...],
    op_count: tuple[str, ...],
    max_size: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **asked: Any,
) -> int:
    """Rebuild the model from the recipe in FILE and compare the two, in ONNX Runtime at its defaults.

    FILE without a recipe is compared with the timm model that --model names, seeded, --pretrained or from a
    --checkpoint. With several --runtime it has to pass in each.

    A file passes if its error against PyTorch in float64 is within a small factor of the error that
    PyTorch's own float32 makes. Exits with 1 if it does not.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.graph.atomic_files import check_target
    from nfexport.inspection import inspect
    from nfexport.inspection.assertions import Assertions
    from nfexport.verification.tolerance import FixedTolerance
    from nfexport.workflows.verify import verify

    assertions = Assertions(no_op=no_op, op_count=op_count, max_size=max_size)
    assertions.check_syntax()
    tolerance = None
    if rtol is not None or atol is not None:
        tolerance = FixedTolerance(rtol=rtol or 0.0, atol=atol or 0.0)
    named = named_model(model, checkpoint, asked)
    check_providers(runtimes, providers)
    for target, option in ((junit, "--junit"), (report, "--report"), (plot, "--plot")):
        if target is not None:
            check_target(target, option=option)
    check_pages(report=report, plot=plot)
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = verify(
            file,
            checkpoint=None if named else checkpoint,
            seed=seed,
            tolerance=tolerance,
            runtimes=runtimes or ("onnxruntime",),
            providers=providers,
            named=named,
            bisect=bisect or report is not None or plot is not None,
            self_test=self_test,
            progress=progress,
        )
    asserts = no_op or op_count or max_size
    outcomes = assertions.check(inspect(file)) if asserts else ()
    write_pages(result, report=report, plot=plot)
    if junit is not None:
        write_junit(junit, result, outcomes)
    if as_json:
        print_json({**result.to_dict(), "assertions": [dataclasses.asdict(outcome) for outcome in outcomes]})
    else:
        console.show_verification(result)
    return result.exit_code if report_assertions(file, outcomes) else EXIT_VERIFICATION

"""`nfexport verify FILE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfexport.cli.options import asserting, reporting, seed_option
from nfexport.cli.sections import SectionedCommand, option
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

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.inspection.assertions import AssertionResult
    from nfexport.workflows.results import VerifyResult


@click.command(name="verify", cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="The weights, for a file that was exported from a checkpoint or a folder.",
    section="Source",
)
@naming
@running
@looking
@seed_option("Seed of the inputs.")
@option(
    "--rtol",
    type=click.FloatRange(min=0),
    help="Fixed relative tolerance, in place of the measured one.",
    section="Verification",
)
@option(
    "--atol",
    type=click.FloatRange(min=0),
    help="Fixed absolute tolerance, in place of the measured one.",
    section="Verification",
)
@asserting
@reporting
def command(file: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Rebuild the model from the recipe in FILE and compare the two, in ONNX Runtime at its defaults.

    FILE without a recipe is compared with the timm model that --model names, seeded, --pretrained or from a
    --checkpoint, or with a module of your own (--model FILE.py:FACTORY). A recipe of such a module needs --model too,
    as no file has code run. With several --runtime it has to pass in each.

    A file passes if its error against PyTorch in float64 is within a small factor of the error that
    PyTorch's own float32 makes. Exits with 1 if it does not.
    """
    from nfexport.cli.console import Console, print_json, report_assertions
    from nfexport.cli.show_verification import show_verification
    from nfexport.inspection import inspect
    from nfexport.inspection.assertions import Assertions

    wanted = {name: options[name] for name in ("no_op", "op_count", "max_size")}
    assertions = Assertions(**wanted)
    assertions.check_syntax()
    console = Console(quiet=quiet or as_json, verbose=verbose)
    result = _verify(file, options, console)
    outcomes = assertions.check(inspect(file)) if any(wanted.values()) else ()
    _write(result, outcomes, options)
    if as_json:
        print_json({**result.to_dict(), "assertions": [dataclasses.asdict(outcome) for outcome in outcomes]})
    else:
        show_verification(result, console)
    return result.exit_code if report_assertions(file, outcomes) else EXIT_VERIFICATION


def _verify(file: Path, options: Mapping[str, Any], console: Console) -> VerifyResult:
    from nfexport.graph.atomic_files import check_target
    from nfexport.verification.tolerance import FixedTolerance
    from nfexport.workflows.verify import verify

    rtol, atol, checkpoint = options["rtol"], options["atol"], options["checkpoint"]
    named = named_model(options["model"], checkpoint, options)
    check_providers(options["runtimes"], options["providers"])
    for name in ("junit", "report", "plot"):
        if options[name] is not None:
            check_target(options[name], option=f"--{name}")
    check_pages(report=options["report"], plot=options["plot"])
    fixed = None if rtol is None and atol is None else FixedTolerance(rtol=rtol or 0.0, atol=atol or 0.0)
    with console.live() as progress:
        return verify(
            file,
            checkpoint=None if named else checkpoint,
            seed=options["seed"],
            tolerance=fixed,
            runtimes=options["runtimes"] or ("onnxruntime",),
            providers=options["providers"],
            named=named,
            bisect=options["bisect"] or options["report"] is not None or options["plot"] is not None,
            self_test=options["self_test"],
            strict=options["strict"],
            progress=progress,
        )


def _write(result: VerifyResult, outcomes: Sequence[AssertionResult], options: Mapping[str, Any]) -> None:
    write_pages(result, report=options["report"], plot=options["plot"])
    if options["junit"] is not None:
        write_junit(options["junit"], result, outcomes)

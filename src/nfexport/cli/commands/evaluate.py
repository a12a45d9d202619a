"""`nfexport evaluate FILE DATA`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nfexport.cli.escaping import complain
from nfexport.cli.evaluate_options import (
    ExpectedAccuracy,
    accuracy_options,
    check_combinations,
    check_targets,
    data_options,
    result_options,
)
from nfexport.cli.options import reporting
from nfexport.cli.sections import SectionedCommand, option
from nfexport.cli.verify_options import check_providers, running
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION

if TYPE_CHECKING:
    from nfexport.images.evaluate.evaluation import Evaluation
    from nfexport.images.evaluate.predictions import ClassOutputs
    from nfexport.inspection import FileFacts
    from nfexport.progress import Progress


@click.command(name="evaluate", cls=SectionedCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@data_options
@running
@option(
    "--against",
    type=click.Choice(["torch"]),
    help="Also run the model of the recipe in PyTorch.",
    section="Verification",
)
@option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --against: a file with the weights.",
    section="Verification",
)
@accuracy_options
@result_options
@reporting
def command(file: Path, data: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Measure the accuracy of FILE on the images in DATA, which has a folder for each class, or --truth.

    Images are prepared as the recipe in FILE says. Those that cannot be read are reported and skipped. Exits with 1
    if images were skipped, or if the accuracy is not as expected.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_evaluation import report_problems, show_evaluation, write_tables
    from nfexport.images.evaluate.accuracy_record import record_accuracy
    from nfexport.images.evaluate.expectation import Expectation

    expected = _check(file, options)
    expectation = Expectation()

    def check(facts: FileFacts, outputs: ClassOutputs) -> None:
        nonlocal expectation
        expectation = expected.of_file(facts, outputs)

    console = Console(quiet=quiet or as_json, verbose=verbose)
    try:
        with console.live() as progress:
            result = _evaluate(file, data, options, check, progress)
    except KeyboardInterrupt:
        if options["resume"] is None or not options["resume"].exists():
            raise
        message = f"interrupted; run the same command again to continue from '{options['resume']}'"
        complain(message)
        return 128 + signal.SIGINT
    problems = expectation.check(result)
    passed = result.exit_code == EXIT_OK and not problems
    recorded = options["record"] and passed
    if recorded:
        record_accuracy(file, result.accuracy(options["dataset"]))
    write_tables(result, csv=options["csv"], confusion=options["confusion"])
    per_class = options["per_class"]
    if as_json:
        unmet = {"unmet": list(problems), "recorded": recorded}
        print_json({**result.to_dict(per_class=per_class), **unmet})
    else:
        show_evaluation(result, console, per_class=per_class, recorded=recorded)
    report_problems(result, problems, not_recorded=options["record"] and not passed)
    return EXIT_OK if passed else EXIT_VERIFICATION


def _check(file: Path, options: Mapping[str, Any]) -> ExpectedAccuracy:
    """Check the options, and return the accuracy that they expect."""
    expected = ExpectedAccuracy(
        top1=options["expect_top1"],
        top5=options["expect_top5"],
        claimed=options["expect_claimed"],
        within=options["within"],
    )
    check_providers(options["runtimes"], options["providers"])
    check_combinations(**{name: options[name] for name in ("against", "checkpoint", "record", "dataset")})
    expected.check()
    check_targets(csv=options["csv"], confusion=options["confusion"], record=file if options["record"] else None)
    return expected


def _evaluate(
    file: Path,
    data: Path,
    options: Mapping[str, Any],
    check: Callable[[FileFacts, ClassOutputs], None],
    progress: Progress | None,
) -> Evaluation:
    from nfexport.images.evaluate.evaluation_options import EvaluationKeywords
    from nfexport.images.evaluate.evaluator import evaluate

    keywords: EvaluationKeywords = {
        "truth": options["truth"],
        "truth_base": None if options["truth_base"] is None else int(options["truth_base"]),
        "class_map": options["class_map"],
        "limit": options["limit"],
        "runtimes": options["runtimes"] or ("onnxruntime",),
        "providers": options["providers"],
        "against": options["against"],
        "checkpoint": options["checkpoint"],
        "batch": options["batch"],
        "workers": options["workers"],
        "resume": options["resume"],
    }
    return evaluate(file, data, check=check, progress=progress, **keywords)

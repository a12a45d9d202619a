"""`nfexport evaluate FILE DATA`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfexport.cli.evaluate_options import check_options, expecting, feeding, giving
from nfexport.cli.options import reporting
from nfexport.cli.verify_options import check_providers, running
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION

if TYPE_CHECKING:
    from nfexport.images.evaluate.predictions import Reading
    from nfexport.inspection import FileFacts


@click.command(name="evaluate", short_help="Measure top-1 and top-5 of an ONNX file on pictures.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@feeding
@running
@click.option("--against", type=click.Choice(["torch"]), help="Run the recipe's model in PyTorch beside the file.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="With --against: the weights, if from a file.")
@expecting
@giving
@reporting
def command(
    file: Path,
    data: Path,
    truth: Path | None,
    truth_base: str | None,
    class_map: Path | None,
    batch: int | None,
    workers: int | None,
    limit: int | None,
    resume: Path | None,
    runtimes: tuple[str, ...],
    providers: tuple[str, ...],
    against: str | None,
    checkpoint: Path | None,
    expect_top1: float | None,
    expect_top5: float | None,
    expect_claimed: bool,
    within: float | None,
    per_class: bool,
    csv: Path | None,
    confusion: Path | None,
    record: bool,
    dataset: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Measure how often FILE is right on the pictures in DATA: a folder for each class, or --truth.

    Pictures go through the transform in the file's recipe. Those that cannot be read are reported and
    skipped; exits with 1 then, and if the accuracy is not as expected.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.evaluate_options import expectation_for
    from nfexport.cli.show_evaluation import report_problems, show_evaluation, write_tables
    from nfexport.images.evaluate.accuracy_record import record_accuracy
    from nfexport.images.evaluate.evaluator import evaluate
    from nfexport.images.evaluate.expectation import Expectation

    check_providers(runtimes, providers)
    check_options(
        against=against,
        checkpoint=checkpoint,
        expected=(expect_top1, expect_top5),
        expect_claimed=expect_claimed,
        within=within,
        csv=csv,
        confusion=confusion,
        record=file if record else None,
        dataset=dataset,
    )
    expectation = Expectation()

    def check(facts: FileFacts, reading: Reading) -> None:
        nonlocal expectation
        expectation = expectation_for(facts, reading, expect_top1, expect_top5, expect_claimed, within)

    console = Console(quiet=quiet or as_json, verbose=verbose)
    try:
        with console.live() as progress:
            result = evaluate(
                file,
                data,
                truth=truth,
                truth_base=None if truth_base is None else int(truth_base),
                class_map=class_map,
                runtimes=runtimes or ("onnxruntime",),
                providers=providers,
                against="torch" if against else None,
                checkpoint=checkpoint,
                batch=batch,
                workers=workers,
                limit=limit,
                resume=resume,
                check=check,
                progress=progress,
            )
    except KeyboardInterrupt:
        if resume is None or not resume.exists():
            raise
        click.echo(f"nfexport: interrupted; the same command goes on from '{resume}'", err=True)
        return 128 + signal.SIGINT
    problems = expectation.check(result)
    passed = result.exit_code == EXIT_OK and not problems
    recorded = record and passed
    if recorded:
        record_accuracy(file, result.accuracy(dataset))
    write_tables(result, csv=csv, confusion=confusion)
    if as_json:
        unmet = {"unmet": list(problems), "recorded": recorded}
        print_json({**result.to_dict(per_class=per_class), **unmet})
    else:
        show_evaluation(result, console, per_class=per_class, recorded=recorded)
    report_problems(result, problems, not_recorded=record and not passed)
    return EXIT_OK if passed else EXIT_VERIFICATION

"""`nfexport golden record FILE` and `nfexport golden check FILE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfexport.cli.options import reporting
from nfexport.errors import EXIT_OK, GoldenError

if TYPE_CHECKING:
    from nfexport.goldens.golden_check import GoldenCheck
    from nfexport.goldens.writer import GoldenResult


@click.group(name="golden", short_help="Record what a file is and computes, and check it without torch.")
def command() -> None:
    """Record what a file is and what it has to compute, against PyTorch; check it later, without torch."""


@command.command(name="record", short_help="Verify a file and record it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", "folder", type=click.Path(path_type=Path), help="Folder to write. [default: FILE.golden]"
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="The weights, for a file that was exported from a checkpoint.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the inputs.")
@click.option("--force", is_flag=True, help="Replace the golden that is there.")
@click.option("--compact", is_flag=True, help="Leave the inputs out; they are drawn anew from the seed.")
@click.option(
    "--with-model/--without-model",
    default=None,
    help="Keep a copy of FILE for onnx_test_runner. [default: if it is smaller than 5 MB]",
)
@click.option("--trust", is_flag=True, help="Record what ONNX Runtime itself gives: for a file without a recipe.")
@reporting
def record_command(
    file: Path,
    folder: Path | None,
    checkpoint: Path | None,
    seed: int,
    force: bool,
    compact: bool,
    with_model: bool | None,
    trust: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Verify FILE against its PyTorch model and record it, in the layout of ONNX's own tests.

    A file that does not equal its model is not recorded; exits with 1 then.
    """
    from nfexport.cli.console import Console
    from nfexport.workflows.golden import record_golden

    with Console(quiet=quiet or as_json, verbose=verbose).live() as progress:
        result = record_golden(
            file,
            folder,
            checkpoint=checkpoint,
            seed=seed,
            force=force,
            compact=compact,
            with_model=with_model,
            trust=trust,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    elif not quiet:
        _show_record(result)
    return EXIT_OK


@command.command(name="check", short_help="Hold a file to its golden, without torch.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--golden", "folder", type=click.Path(path_type=Path), help="The golden. [default: FILE.golden]")
@click.option("--numbers-only", is_flag=True, help="Let other operators, weights and recipes pass.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="What runs the file.")
@click.option("--update", is_flag=True, help="Say what differs; if anything does, verify and record again.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="With --update: the weights of a file from a checkpoint."
)
@reporting
def check_command(
    file: Path,
    folder: Path | None,
    numbers_only: bool,
    runtime: str,
    update: bool,
    checkpoint: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Hold FILE to its golden: interface, opset, operators, weights, recipe and numbers. Needs no torch.

    Says one line on stderr for each respect in which FILE differs, and exits with 1 if it does.
    """
    # without rich, whose tables would cost as much as the check of a small file
    from nfexport.goldens.golden_check import check_golden

    outcome: GoldenCheck | None = None
    try:
        outcome = check_golden(file, folder, runtime=runtime, numbers_only=numbers_only)
    except GoldenError as error:
        from nfexport.goldens.layout import default_folder
        from nfexport.goldens.manifest import read_manifest

        if not update:
            raise
        if not _is_of(file, read_manifest(folder or default_folder(file)).model_name):
            raise
        click.echo(f"nfexport: {file}: {error.problem}", err=True)
    if outcome is not None:
        _tell(outcome, forgiven=update)
        if not update or not (outcome.changes or outcome.forgiven):
            if as_json:
                click.echo(json.dumps(outcome.to_dict(), indent=2))
            elif not quiet:
                _show_check(outcome, verbose=verbose)
            return outcome.exit_code
    from nfexport.goldens.layout import default_folder
    from nfexport.workflows.golden import record_again

    result = record_again(file, folder or default_folder(file), checkpoint=checkpoint)
    if as_json:
        before = None if outcome is None else outcome.to_dict()
        click.echo(json.dumps({"before": before, "recorded": result.to_dict()}, indent=2))
    elif not quiet:
        _show_record(result)
    return EXIT_OK


def _is_of(file: Path, model_name: str | None) -> bool:
    """Say whether a golden that could not be used is of this file's model at all."""
    from nfexport.inspection import inspect

    recipe = inspect(file).recipe
    return recipe is None or model_name in (None, recipe.architecture)


def _tell(outcome: GoldenCheck, *, forgiven: bool) -> None:
    for change in (*outcome.changes, *(outcome.forgiven if forgiven else ())):
        click.echo(f"nfexport: {outcome.file}: {change}", err=True)


def _show_check(outcome: GoldenCheck, *, verbose: bool) -> None:
    manifest = outcome.manifest
    against = "PyTorch in float64" if manifest.reference == "pytorch" else "ONNX Runtime itself, not a model"
    lines = [("file", str(outcome.file)), ("golden", f"{outcome.folder}, recorded against {against}")]
    if outcome.excess is not None:
        lines.append(
            (
                "numbers",
                f"{outcome.runtime} on {len(manifest.data_sets)} data sets: {outcome.excess:.0%} of what is allowed",
            )
        )
    lines += [("let pass", str(change)) for change in outcome.forgiven]
    if verbose:
        lines += [("data set", f"{data.case}, batch {data.batch}") for data in manifest.data_sets]
        lines.append(("tolerance", manifest.tolerance))
    lines.append(("result", "passed" if outcome.passed else "FAILED"))
    _show(lines)


def _show_record(result: GoldenResult) -> None:
    manifest = result.manifest
    kept = "left out, drawn anew from the seed" if manifest.compact else "kept"
    _show(
        [
            ("golden", f"{result.folder} ({result.size:,} bytes)"),
            ("data sets", f"{len(manifest.data_sets)}, seed {manifest.seed}; inputs {kept}"),
            ("verified", result.summary),
        ]
    )


def _show(lines: list[tuple[str, str]]) -> None:
    for name, text in lines:
        click.echo(f"{name:<10}  {text}")

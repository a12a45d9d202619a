"""`nfexport golden record FILE` and `nfexport golden check FILE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nfexport.cli.escaping import complain
from nfexport.cli.options import reporting
from nfexport.errors import EXIT_OK, GoldenError

if TYPE_CHECKING:
    from nfexport.goldens.golden_check import GoldenCheck
    from nfexport.goldens.writer import GoldenResult


@click.group(name="golden")
def command() -> None:
    """Record the facts and expected outputs of a file against PyTorch, and check them later without torch."""


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
@click.option("--model", metavar="MODULE:FACTORY", help="The factory of your own module, where the recipe names one.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the inputs.")
@click.option("--force", is_flag=True, help="Replace an existing golden.")
@click.option("--compact", is_flag=True, help="Leave the inputs out; they are drawn anew from the seed.")
@click.option(
    "--with-model/--without-model",
    default=None,
    help="Keep a copy of FILE for onnx_test_runner. [default: if it is smaller than 5 MB]",
)
@click.option("--trust", is_flag=True, help="Record the results of ONNX Runtime itself, for a file without a recipe.")
@reporting
def record_command(
    file: Path,
    folder: Path | None,
    checkpoint: Path | None,
    model: str | None,
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

    A file that does not equal its model is not recorded, and the exit code is 1.
    """
    from nfexport.cli.console import Console
    from nfexport.workflows.golden import record_golden

    with Console(quiet=quiet or as_json, verbose=verbose).live() as progress:
        result = record_golden(
            file,
            folder,
            checkpoint=checkpoint,
            model=model,
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


@command.command(name="check", short_help="Check a file against its golden, without torch.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--golden", "folder", type=click.Path(path_type=Path), help="The golden. [default: FILE.golden]")
@click.option("--numbers-only", is_flag=True, help="Ignore changed operators, weights and recipes.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="The runtime that runs the file.")
@click.option("--update", is_flag=True, help="Report the differences; if there are any, verify and record again.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="With --update: the weights of a file that was exported from a checkpoint.",
)
@click.option("--model", metavar="MODULE:FACTORY", help="With --update: the factory of your own module.")
@reporting
def check_command(
    file: Path,
    folder: Path | None,
    numbers_only: bool,
    runtime: str,
    update: bool,
    checkpoint: Path | None,
    model: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Check FILE against its golden: interface, opset, operators, weights, recipe and numbers. Needs no torch.

    Prints one line on stderr for each difference, and exits with 1 if there are any.
    """
    result = _check(file, folder, runtime=runtime, numbers_only=numbers_only, update=update)
    if result is not None:
        _report(result, forgiven=update)
        if not update or not (result.changes or result.forgiven):
            if as_json:
                click.echo(json.dumps(result.to_dict(), indent=2))
            elif not quiet:
                _show_check(result, verbose=verbose)
            return result.exit_code
    from nfexport.goldens.layout import default_folder
    from nfexport.workflows.golden import record_again

    recorded = record_again(file, folder or default_folder(file), checkpoint=checkpoint, model=model)
    if as_json:
        before = None if result is None else result.to_dict()
        click.echo(json.dumps({"before": before, "recorded": recorded.to_dict()}, indent=2))
    elif not quiet:
        _show_record(recorded)
    return EXIT_OK


def _check(file: Path, folder: Path | None, *, runtime: str, numbers_only: bool, update: bool) -> GoldenCheck | None:
    """Return the result of the check; None for a golden that cannot be used, but can be recorded again."""
    # without rich, whose tables would cost as much as the check of a small file
    from nfexport.goldens.golden_check import check_golden

    try:
        return check_golden(file, folder, runtime=runtime, numbers_only=numbers_only)
    except GoldenError as error:
        from nfexport.goldens.layout import default_folder
        from nfexport.goldens.manifest import read_manifest

        if not update or not _is_of(file, read_manifest(folder or default_folder(file)).model_name):
            raise
        complain(f"{file}: {error.problem}")
        return None


def _is_of(file: Path, model_name: str | None) -> bool:
    """Return whether a golden that cannot be used is of the model of this file."""
    from nfexport.inspection import inspect

    recipe = inspect(file).recipe
    return recipe is None or model_name in (None, recipe.architecture)


def _report(result: GoldenCheck, *, forgiven: bool) -> None:
    for change in (*result.changes, *(result.forgiven if forgiven else ())):
        complain(f"{result.file}: {change}")


def _show_check(result: GoldenCheck, *, verbose: bool) -> None:
    manifest = result.manifest
    against = "PyTorch in float64" if manifest.reference == "pytorch" else "ONNX Runtime itself, not a model"
    lines = [("file", str(result.file)), ("golden", f"{result.folder}, recorded against {against}")]
    if result.excess is not None:
        lines.append(
            (
                "numbers",
                f"{result.runtime} on {len(manifest.data_sets)} data sets: {result.excess:.0%} of what is allowed",
            )
        )
    lines += [("ignored", str(change)) for change in result.forgiven]
    if verbose:
        lines += [("data set", f"{data.case}, batch {data.batch}") for data in manifest.data_sets]
        lines.append(("tolerance", manifest.tolerance))
    lines.append(("result", "passed" if result.passed else "FAILED"))
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

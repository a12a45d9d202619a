"""Options of verify: the runtimes, and the model that a file without a recipe contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nfexport.cli.parameter_types import NumbersType
from nfexport.cli.sections import option, together
from nfexport.errors import InputError, MissingPackage

if TYPE_CHECKING:
    from nfexport.inspection.assertions import AssertionResult
    from nfexport.workflows.results import VerifyResult
    from nfexport.workflows.subjects import NamedModel

Function = TypeVar("Function", bound=Callable[..., Any])

NAMING = ("pretrained", "weights_seed", "normalize", "mean", "std", "input_range", "channels")


def running(function: Function) -> Function:
    """Add where the file runs; the command gets runtimes and providers."""
    return together(
        option(
            "--runtime",
            "runtimes",
            metavar="NAME",
            multiple=True,
            help="Run the file in this runtime; repeat it for several.  [default: onnxruntime]",
            section="Execution",
        ),
        option(
            "--provider",
            "providers",
            metavar="NAME",
            multiple=True,
            help="Execution provider of ONNX Runtime, such as cuda; repeat it by preference.  [default: cpu]",
            section="Execution",
        ),
    )(function)


def looking(function: Function) -> Function:
    """Add a look inside the file; the command gets strict, bisect, self_test, report, plot and junit."""
    file = click.Path(path_type=Path)
    return together(
        option(
            "--strict",
            is_flag=True,
            help="Build the graph again from the recipe too, and compare every node and weight.",
            section="Verification",
        ),
        option(
            "--bisect",
            is_flag=True,
            help="Compare every tensor, and name the first node at fault.",
            section="Verification",
        ),
        option(
            "--self-test",
            is_flag=True,
            help="Inject faults into copies of the file, and check that each is detected.",
            section="Verification",
        ),
        option("--report", type=file, metavar="FILE", help="Write an HTML page (bisects).", section="Reporting"),
        option("--plot", type=file, metavar="FILE", help="Write a PNG (bisects).", section="Reporting"),
        option("--junit", type=file, metavar="FILE", help="Write JUnit XML too.", section="Reporting"),
    )(function)


def naming(function: Function) -> Function:
    """Add the model of a file without a recipe; the command gets model and what NAMING lists."""
    return together(
        option(
            "--model",
            metavar="NAME|FILE.py:FACTORY",
            help="The timm model or own module that a file with no recipe holds, or the module that a recipe names.",
            section="Source",
        ),
        option(
            "--pretrained",
            is_flag=True,
            help="With --model: the trained weights of its default tag.",
            section="Source",
        ),
        option(
            "--weights-seed",
            type=click.IntRange(min=0),
            help="With --model: the seed of untrained weights.",
            section="Source",
        ),
        option(
            "--normalize",
            is_flag=True,
            help="With --model: the file normalises its input itself.",
            section="Preprocessing",
        ),
        option(
            "--mean",
            type=NumbersType(),
            help="With --model: the mean that it was trained with, in 0..1 or 0..255.  [default: the model's]",
            section="Preprocessing",
        ),
        option(
            "--std",
            type=NumbersType(),
            help="With --model: the standard deviation that it was trained with, in the unit of --mean.",
            section="Preprocessing",
        ),
        option(
            "--input-range",
            type=click.FloatRange(min=0, min_open=True),
            metavar="255|1",
            help="With --model: the largest value of a pixel that the file takes.",
            section="Preprocessing",
        ),
        option(
            "--channels",
            type=click.Choice(["rgb", "bgr"]),
            help="With --model: the channel order that the file takes.",
            section="Preprocessing",
        ),
    )(function)


def named_model(model: str | None, checkpoint: Path | None, asked: Mapping[str, Any]) -> NamedModel | None:
    """Return the model that the options name, None if they name none.

    Raises InputError for options that say more of a model that is not named."""
    given = {name: asked[name] for name in NAMING if asked[name] is not None and asked[name] is not False}
    if model is None:
        for name in given:
            raise InputError(
                f"--{name.replace('_', '-')} is for a file without a recipe", fix="name its model with --model"
            )
        return None
    from nfexport.workflows.subjects import NamedModel

    return NamedModel(name=model, checkpoint=checkpoint, **given)


def check_providers(runtimes: Sequence[str], providers: Sequence[str]) -> None:
    """Raise InputError for providers of a runtime that does not run."""
    if providers and runtimes and "onnxruntime" not in runtimes:
        raise InputError("--provider is for ONNX Runtime alone", fix="leave it out, or add --runtime onnxruntime")


def check_pages(*, report: Path | None, plot: Path | None) -> None:
    """Raise MissingPackage, before any long work is done, if what draws the pages is not installed."""
    import importlib.util

    needed = [
        *(["jinja2", "matplotlib"] if report is not None else []),
        *(["matplotlib"] if plot is not None else []),
    ]
    for package in needed:
        if importlib.util.find_spec(package) is None:
            option = "--report" if report is not None else "--plot"
            raise MissingPackage(
                f"{option} needs {package}, which is not installed",
                fix="install it with: pip install 'nfexport[report]'",
            )


def write_pages(result: VerifyResult, *, report: Path | None, plot: Path | None) -> None:
    """Write the HTML page and the plot of a result with a diagnosis. Raises OutputError or MissingPackage."""
    if result.diagnosis is None:
        return
    from nfexport.graph.atomic_files import staged, write_files
    from nfexport.verification.diagnosis import html_page as page
    from nfexport.verification.diagnosis import plot as drawing

    if report is not None:
        text = page.html(str(result.path), result.reports, result.diagnosis, result.recipe, passed=result.passed)
        with staged(report, option="--report") as partial:
            partial.write_text(text, encoding="utf-8")
    if plot is not None:
        plot_png = drawing.png(result.diagnosis)
        with staged(plot, option="--plot") as partial:
            write_files(partial.parent, {partial.name: plot_png})


def write_junit(target: Path, result: VerifyResult, outcomes: Sequence[AssertionResult]) -> None:
    """Write what was found as JUnit XML, assertions that fail included. Raises OutputError if that fails."""
    from nfexport.graph.atomic_files import staged
    from nfexport.verification.junit import to_junit

    faults = [("recipe", text) for text in result.disagreements]
    if result.structure is not None and result.structure.failed:
        faults.append(("structure", result.structure.summary()))
    weights = result.report.weights
    if weights is not None and not weights.passed:
        faults.append(("weights", weights.summary()))
    if result.self_test is not None and not result.self_test.passed:
        faults.append(("self-test", result.self_test.summary()))
    faults += [(outcome.assertion, outcome.detail) for outcome in outcomes if not outcome.passed]
    with staged(target, option="--junit") as partial:
        partial.write_text(to_junit(result.reports, file=str(result.path), faults=faults), encoding="utf-8")

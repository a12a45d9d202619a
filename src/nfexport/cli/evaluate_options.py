"""Options of evaluate: what is read and how, what is expected, and what is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nfexport.errors import InputError, MissingPackage

if TYPE_CHECKING:
    from nfexport.images.evaluate.expectation import Expectation
    from nfexport.images.evaluate.predictions import Reading
    from nfexport.inspection import FileFacts

Function = TypeVar("Function", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
PER_CENT = click.FloatRange(min=0, max=100)
POSITIVE = click.IntRange(min=1)


def feeding(function: Function) -> Function:
    """Add which pictures are read; the command gets truth, truth_base, class_map, batch, workers, limit, resume."""
    options = [
        click.option("--truth", type=FILE, metavar="FILE", help="The class of each picture, line by line."),
        click.option("--truth-base", type=click.Choice(["0", "1"]), help="Number of the first class in --truth."),
        click.option("--class-map", type=FILE, metavar="FILE", help="The class that each folder or name stands for."),
        click.option("--batch", type=POSITIVE, help="Pictures run at once. [default: 8, or the file's own]"),
        click.option("--workers", type=POSITIVE, help="Threads that read and run pictures. [default: cores]"),
        click.option("--limit", type=POSITIVE, help="Take so many pictures, spread evenly over all."),
        click.option("--resume", type=FILE, metavar="FILE", help="A journal to go on with, or to start."),
    ]
    return _all(options, function)


def expecting(function: Function) -> Function:
    """Add what is expected; the command gets expect_top1, expect_top5, expect_claimed and within."""
    options = [
        click.option("--expect-top1", type=PER_CENT, metavar="PERCENT", help="Fail unless top-1 is this."),
        click.option("--expect-top5", type=PER_CENT, metavar="PERCENT", help="Fail unless top-5 is this."),
        click.option("--expect-claimed", is_flag=True, help="Fail unless they are what FILE says was published."),
        click.option("--within", type=click.FloatRange(min=0), help="Points to either side. [default: 0.1]"),
    ]
    return _all(options, function)


def giving(function: Function) -> Function:
    """Add what is written; the command gets per_class, csv, confusion, record and dataset."""
    options = [
        click.option("--per-class", is_flag=True, help="Show each class, and what it is taken for most."),
        click.option("--csv", type=FILE, metavar="FILE", help="Write the classes as CSV."),
        click.option("--confusion", type=FILE, metavar="FILE", help="Write a PNG of what is taken for what."),
        click.option("--record", is_flag=True, help="Put the accuracy into the metadata of FILE."),
        click.option("--dataset", metavar="NAME", help="With --record: what DATA is called. [default: its folder]"),
    ]
    return _all(options, function)


def _all(options: Sequence[Callable[[Any], Any]], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def check_options(
    *,
    against: str | None,
    checkpoint: Path | None,
    expected: tuple[float | None, float | None],
    expect_claimed: bool,
    within: float | None,
    csv: Path | None,
    confusion: Path | None,
    record: Path | None,
    dataset: str | None,
) -> None:
    """Raise InputError, OutputError or MissingPackage for what cannot work, before any long work is done."""
    import importlib.util

    from nfexport.graph.atomic_files import check_target

    if checkpoint is not None and against is None:
        raise InputError("--checkpoint is for PyTorch's model", fix="add --against torch")
    if dataset is not None and record is None:
        raise InputError("--dataset is a name to record", fix="add --record")
    numbers = any(number is not None for number in expected)
    if within is not None and not numbers and not expect_claimed:
        raise InputError(
            "--within is for what is expected", fix="add --expect-top1, --expect-top5 or --expect-claimed"
        )
    if numbers and expect_claimed:
        raise InputError("--expect-claimed and numbers are two expectations", fix="pass one of them")
    for target, option in ((csv, "--csv"), (confusion, "--confusion"), (record, "--record")):
        if target is not None:
            check_target(target, option=option)
    if confusion is not None and importlib.util.find_spec("matplotlib") is None:
        raise MissingPackage(
            "--confusion needs matplotlib, which is not installed",
            fix="install it with: pip install 'nfexport[report]'",
        )


def expectation_for(
    facts: FileFacts,
    reading: Reading,
    top1: float | None,
    top5: float | None,
    from_file: bool,
    within: float | None,
) -> Expectation:
    """Return what the options expect of this file.

    Raises InputError if it carries no claim, or cannot tell the best five."""
    from nfexport.images.evaluate.expectation import WITHIN, Expectation, claimed
    from nfexport.images.evaluate.predictions import BEST

    points = WITHIN if within is None else within
    expectation = (
        claimed(facts.about, within=points) if from_file else Expectation(top1=top1, top5=top5, within=points)
    )
    classes = facts.recipe.num_classes if facts.recipe is not None else BEST
    if expectation.top5 is not None and reading.depth < min(BEST, classes):
        raise InputError(
            f"the file tells the best {reading.depth} classes, and no top-5",
            fix="export it with --output logits, or leave top-5 out with --expect-top1",
        )
    return expectation

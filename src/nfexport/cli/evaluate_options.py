"""Options of evaluate: which images are read and how, which accuracy is expected, and what is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nfexport.cli.sections import option, together
from nfexport.errors import InputError, MissingPackage

if TYPE_CHECKING:
    from nfexport.images.evaluate.expectation import Expectation
    from nfexport.images.evaluate.predictions import ClassOutputs
    from nfexport.inspection import FileFacts

Function = TypeVar("Function", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
PER_CENT = click.FloatRange(min=0, max=100)
POSITIVE = click.IntRange(min=1)


def data_options(function: Function) -> Function:
    """Add which images are read; the command gets truth, truth_base, class_map, limit, batch, workers, resume."""
    base = click.Choice(["0", "1"])
    return together(
        option("--truth", type=FILE, metavar="FILE", help="File with the class of each image.", section="Images"),
        option("--truth-base", type=base, help="Number of the first class in --truth.", section="Images"),
        option(
            "--class-map",
            type=FILE,
            metavar="FILE",
            help="File that maps folders to classes.",
            section="Images",
        ),
        option("--limit", type=POSITIVE, help="Evaluate this many images, spread evenly over all.", section="Images"),
        option(
            "--batch",
            type=POSITIVE,
            help="Images per run.  [default: 8, or the file's fixed batch size]",
            section="Execution",
        ),
        option(
            "--workers",
            type=POSITIVE,
            help="Threads that read and run.  [default: cores]",
            section="Execution",
        ),
        option("--resume", type=FILE, metavar="FILE", help="Journal to continue, or to start.", section="Execution"),
    )(function)


def accuracy_options(function: Function) -> Function:
    """Add which accuracy is expected; the command gets expect_top1, expect_top5, expect_claimed and within."""
    points = click.FloatRange(min=0)
    return together(
        option(
            "--expect-top1", type=PER_CENT, metavar="PERCENT", help="Fail unless top-1 is this.", section="Assertions"
        ),
        option(
            "--expect-top5", type=PER_CENT, metavar="PERCENT", help="Fail unless top-5 is this.", section="Assertions"
        ),
        option(
            "--expect-claimed",
            is_flag=True,
            help="Fail unless they are as published, according to FILE.",
            section="Assertions",
        ),
        option("--within", type=points, help="Tolerance in percentage points.  [default: 0.1]", section="Assertions"),
    )(function)


def result_options(function: Function) -> Function:
    """Add what is written; the command gets per_class, csv, confusion, record and dataset."""
    return together(
        option(
            "--per-class",
            is_flag=True,
            help="Show each class, and the class it is mistaken for most.",
            section="Reporting",
        ),
        option("--csv", type=FILE, metavar="FILE", help="Write the classes as CSV.", section="Reporting"),
        option("--confusion", type=FILE, metavar="FILE", help="Write the confusion matrix.", section="Reporting"),
        option("--record", is_flag=True, help="Write the accuracy to the metadata of FILE.", section="Reporting"),
        option(
            "--dataset",
            metavar="NAME",
            help="With --record: name of the data.  [default: its folder's]",
            section="Reporting",
        ),
    )(function)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpectedAccuracy:
    """The accuracy that the options expect, in per cent; claimed stands for the one that the file states."""

    top1: float | None
    top5: float | None
    claimed: bool
    within: float | None

    def check(self) -> None:
        """Raise InputError if the options contradict each other."""
        has_numbers = self.top1 is not None or self.top5 is not None
        if self.within is not None and not has_numbers and not self.claimed:
            raise InputError(
                "--within is the tolerance of an expected accuracy",
                fix="add --expect-top1, --expect-top5 or --expect-claimed",
            )
        if has_numbers and self.claimed:
            raise InputError("--expect-claimed and numbers are two expectations", fix="pass one of them")

    def of_file(self, facts: FileFacts, outputs: ClassOutputs) -> Expectation:
        """Return the expectation for this file.

        Raises InputError if it states no published accuracy, or does not return the top five."""
        from nfexport.images.evaluate.expectation import WITHIN, Expectation, claimed
        from nfexport.images.evaluate.predictions import TOP

        points = WITHIN if self.within is None else self.within
        expectation = (
            claimed(facts.about, within=points)
            if self.claimed
            else Expectation(top1=self.top1, top5=self.top5, within=points)
        )
        classes = facts.recipe.num_classes if facts.recipe is not None else TOP
        if expectation.top5 is not None and outputs.depth < min(TOP, classes):
            raise InputError(
                f"the file returns the top {outputs.depth} classes, which give no top-5",
                fix="export it with --output logits, or expect --expect-top1 only",
            )
        return expectation


def check_combinations(*, against: str | None, checkpoint: Path | None, record: bool, dataset: str | None) -> None:
    """Raise InputError for an option that needs another one."""
    if checkpoint is not None and against is None:
        raise InputError("--checkpoint has the weights of the model in PyTorch", fix="add --against torch")
    if dataset is not None and not record:
        raise InputError("--dataset names the data in a record", fix="add --record")


def check_targets(*, csv: Path | None, confusion: Path | None, record: Path | None) -> None:
    """Raise OutputError or MissingPackage for a file that cannot be written, before any work is done."""
    import importlib.util

    from nfexport.graph.atomic_files import check_target

    for target, flag in ((csv, "--csv"), (confusion, "--confusion"), (record, "--record")):
        if target is not None:
            check_target(target, option=flag)
    if confusion is not None and importlib.util.find_spec("matplotlib") is None:
        raise MissingPackage(
            "--confusion needs matplotlib, which is not installed",
            fix="install it with: pip install 'nfexport[report]'",
        )

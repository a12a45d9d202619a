"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nfexport.cli.escaping import complain
from nfexport.cli.sections import option, together

Function = TypeVar("Function", bound=Callable[..., Any])


def reporting(function: Function) -> Function:
    """Add --json, -q and -v to a command that reports."""
    return together(
        option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing else.", section="Reporting"),
        option("-q", "--quiet", is_flag=True, help="Print nothing but errors.", section="Reporting"),
        option("-v", "--verbose", is_flag=True, help="Print more: each pass, each input.", section="Reporting"),
    )(function)


def asserting(function: Function) -> Function:
    """Add assertions about a file; the command gets no_op, op_count and max_size."""
    return together(
        option(
            "--assert-no-op",
            "no_op",
            multiple=True,
            metavar="OP",
            help="Fail if the file has this operator.",
            section="Assertions",
        ),
        option(
            "--assert-op-count",
            "op_count",
            multiple=True,
            metavar="OP=N",
            help="Fail unless the file has N such nodes (<=, >=).",
            section="Assertions",
        ),
        option(
            "--max-size",
            metavar="SIZE",
            help="Fail if the file is larger: 290MB, 1.5GiB.",
            section="Assertions",
        ),
    )(function)


def target_option(default: str | None) -> Callable[[Function], Function]:
    """Return the option -o; the command gets target."""
    shown = "" if default is None else f"  [default: {default}]"
    return option(
        "-o",
        "--out",
        "target",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"File to write.{shown}",
        section="Output file",
    )


verifying = option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare the file that is written with the model, or with its source.",
    section="Verification",
)
"""Whether what is written is compared; the command gets verify."""


def seed_option(help_text: str) -> Callable[[Function], Function]:
    """Return the option --seed for the inputs of a comparison."""
    return option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help=help_text,
        section="Verification",
    )


def deprecated(flag: str, keyword: str, kind: click.ParamType) -> Callable[[Function], Function]:  # type: ignore[type-arg]
    """Return a hidden option of an earlier release; see `renamed`."""
    return option(flag, keyword, type=kind, hidden=True)


def renamed(values: dict[str, Any], names: dict[str, str]) -> None:
    """Move the values of deprecated options to the options that replace them, and say so on stderr.

    Raises RecipeError if both are given."""
    from nfexport.errors import RecipeError

    for old, new in names.items():
        value = values.pop(old, None)
        if value is None:
            continue
        old_flag, new_flag = (f"--{name.replace('_', '-')}" for name in (old, new))
        if values.get(new) is not None:
            raise RecipeError(f"{old_flag} is an old name of {new_flag}", fix=f"pass {new_flag} alone")
        complain(f"{old_flag} is deprecated; use {new_flag}, which means the same")
        values[new] = value

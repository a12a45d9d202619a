"""Options and parameter types that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def reporting(function: Function) -> Function:
    """Add --json, -q and -v to a command that reports."""
    function = click.option("-v", "--verbose", is_flag=True, help="Say more: each pass, each input.")(function)
    function = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(function)


def asserting(function: Function) -> Function:
    """Add what a file must hold; the command gets no_op, op_count and max_size."""
    function = click.option("--max-size", metavar="SIZE", help="Fail if the file is larger: 290MB, 1.5GiB.")(function)
    function = click.option(
        "--assert-op-count", "op_count", multiple=True, metavar="OP=N", help="Fail unless there are N nodes (<=, >=)."
    )(function)
    return click.option(
        "--assert-no-op", "no_op", multiple=True, metavar="OP", help="Fail if the file has this operator."
    )(function)


def writing(function: Function) -> Function:
    """Add what an export writes; the command gets to, ir_precision, external_data and verify."""
    options = [
        click.option(
            "--to",
            type=click.Choice(["onnx", "openvino"]),
            default="onnx",
            show_default=True,
            help="Write OpenVINO's IR (.xml, .bin) beside the file too.",
        ),
        click.option(
            "--ir-precision",
            type=click.Choice(["fp32", "fp16"]),
            default="fp32",
            show_default=True,
            help="What the IR stores its weights in.",
        ),
        external_data_option,
        click.option(
            "--verify/--no-verify", default=True, show_default=True, help="Compare the file with the model."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def external_data_option(function: Function) -> Function:
    """Add --external-data; the command gets external_data, None unless it is named."""
    return click.option(
        "--external-data/--no-external-data",
        default=None,
        help="Put the weights into a .data file beside the .onnx. [default: past 2 GiB alone]",
    )(function)


class SizeType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5
    """A size in pixels: 'train', 'test', '224' or '224x320' (height x width)."""

    name = "N|HxW|train|test"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, int] | str:
        if not isinstance(value, str) or value in ("train", "test"):
            return value  # type: ignore[no-any-return]
        parts = value.lower().split("x")
        if not all(part.isdecimal() for part in parts) or len(parts) > 2:
            self.fail(f"'{value}' is not a size; pass a number of pixels, HxW, train or test", param, ctx)
        sizes = tuple(int(part) for part in parts)
        return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


class BatchType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5
    """A batch: 'dynamic' or a fixed size."""

    name = "N|dynamic"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "dynamic" or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        if not value.isdecimal():
            self.fail(f"'{value}' is not a batch; pass a number or 'dynamic'", param, ctx)
        return int(value)

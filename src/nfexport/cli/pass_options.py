"""Options that ask for graph passes: the same words at export and in surgery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

OUTPUTS = ("logits", "probs", "topk")
EMBEDDINGS = {"pooled": "embedding", "unpooled": "embedding-unpooled"}


class NumbersType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5
    """Numbers, one per channel: '0.485,0.456,0.406'."""

    name = "A,B,C"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value}' is no list of numbers; pass one per channel, such as 0.485,0.456,0.406", param, ctx)


class LevelsType(click.ParamType):  # type: ignore[type-arg]
    """Indices of feature maps: '2,3,4' or '-1'; 'all' is timm's own choice."""

    name = "[LEVELS]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if value == "all":
            return ()
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value}' is no list of feature levels; pass numbers, such as 2,3,4", param, ctx)


class PictureSizeType(click.ParamType):  # type: ignore[type-arg]
    """The size of the pictures that come in: 'any', or HxW."""

    name = "[HxW]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | tuple[int, int]:
        if not isinstance(value, str) or value == "any":
            return value  # type: ignore[no-any-return]
        parts = value.lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"'{value}' is no size of pictures; pass HxW, or nothing for any size", param, ctx)
        return int(parts[0]), int(parts[1])


class NamesType(click.ParamType):  # type: ignore[type-arg]
    """Names of tensors: 'A,B'."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        names = tuple(part.strip() for part in value.split(","))
        if not all(names):
            self.fail(f"'{value}' is no list of names; pass A,B", param, ctx)
        return names


class RenameType(click.ParamType):  # type: ignore[type-arg]
    """OLD=NEW."""

    name = "OLD=NEW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        old, sign, new = value.partition("=")
        if not sign or not old or not new:
            self.fail(f"'{value}' names nothing; pass OLD=NEW", param, ctx)
        return old, new


class OutputType(click.Choice):  # type: ignore[type-arg]
    """What the file gives; a file name here is most likely meant for -o."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value not in self.choices:
            self.fail(f"'{value}' is none of {', '.join(OUTPUTS)}; the file to write goes to -o", param, ctx)
        return super().convert(value, param, ctx)


def _add(function: Function, options: list[Callable[[Function], Function]]) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def speed_options(function: Function) -> Function:
    """Add the rewrites that make a file faster, in all and one by one."""
    return _add(
        function,
        [
            click.option("--optimize", is_flag=True, help="Do all folds and rewrites that make the file faster."),
            click.option(
                "--merge-groups/--no-merge-groups",
                default=None,
                help="Merge narrow groups of convolutions. [default: with --optimize]",
            ),
            click.option(
                "--merge-affine/--no-merge-affine",
                default=None,
                help="Write scale and offset of group norms as convolution. [default: with --optimize]",
            ),
            click.option(
                "--pool-globally/--no-pool-globally",
                default=None,
                help="Write means over pixels as GlobalAveragePool. [default: with --optimize]",
            ),
            click.option(
                "--merge-pads/--no-merge-pads",
                default=None,
                help="Let MaxPool do the padding in front of it. [default: with --optimize]",
            ),
            click.option(
                "--multiply-gates/--no-multiply-gates",
                default=None,
                help="Write large convolutions of one pixel as products. [default: with --optimize]",
            ),
        ],
    )


def front_options(function: Function) -> Function:
    """Add what stands in front of the network."""
    return _add(
        function,
        [
            click.option(
                "--normalize",
                is_flag=False,
                flag_value="nodes",
                type=click.Choice(["nodes", "fold"]),
                help="Normalise inside: by nodes in front, or folded into the first convolution.",
            ),
            click.option(
                "--mean", type=NumbersType(), help="Mean per channel, in 0..1 or 0..255. [default: the model's]"
            ),
            click.option("--std", type=NumbersType(), help="Deviation per channel, in the unit of --mean."),
            click.option(
                "--input-range",
                type=click.FloatRange(min=0, min_open=True),
                metavar="255|1",
                help="Largest value of a pixel. [default: 255 for uint8, else 1]",
            ),
            click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="Order of the channels coming in."),
            click.option(
                "--input-dtype", type=click.Choice(["uint8", "float32", "float16"]), help="Element type of the input."
            ),
            click.option("--input-layout", type=click.Choice(["nchw", "nhwc"]), help="Layout of the input."),
            click.option(
                "--resize",
                is_flag=False,
                flag_value="any",
                type=PictureSizeType(),
                help="Take pictures of any size, or of HxW, and do timm's resize and crop inside (uint8 NHWC).",
            ),
        ],
    )


NETWORK = {
    "network_mean": "mean",
    "network_std": "std",
    "crop_pct": "crop_pct",
    "crop_mode": "crop_mode",
    "interpolation": "interpolation",
}
"""The options of network_options, and the fields of the preprocessing that they override."""


def network_options(function: Function) -> Function:
    """Add what a user knows better than timm's configuration: how the weights want their pictures."""
    return _add(
        function,
        [
            click.option(
                "--network-mean", type=NumbersType(), help="Mean that the weights were trained with, in 0..1."
            ),
            click.option("--network-std", type=NumbersType(), help="Deviation that they were trained with, in 0..1."),
            click.option("--crop-pct", type=float, help="Share of the picture that is kept. [default: timm's]"),
            click.option("--crop-mode", type=click.Choice(["center", "squash", "border"]), help="How it is cropped."),
            click.option("--interpolation", type=click.Choice(["bicubic", "bilinear"]), help="How it is resized."),
        ],
    )


def network_overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of network_options out of a command's, and return those that were given, by field."""
    given = {field: options.pop(name) for name, field in NETWORK.items()}
    return {field: value for field, value in given.items() if value is not None}


def back_options(function: Function) -> Function:
    """Add what stands behind the network, and the form of the file."""
    return _add(
        function,
        [
            click.option(
                "--output",
                "outputs",
                type=OutputType(OUTPUTS),
                multiple=True,
                help="What the file gives, several times for several. [default: logits]",
            ),
            click.option(
                "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Classes of topk."
            ),
            click.option(
                "--rename", type=RenameType(), multiple=True, metavar="OLD=NEW", help="Rename an input or output."
            ),
            click.option(
                "--precision",
                type=click.Choice(["fp16", "fp16-weights"]),
                help="Store (and compute) in float16; inputs and outputs stay.",
            ),
            click.option(
                "--simplify", is_flag=True, help="Run onnxsim last, and keep what it does if that is right."
            ),
            click.option("--strip", is_flag=True, help="Drop doc strings and debugging metadata."),
        ],
    )

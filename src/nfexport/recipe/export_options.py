"""The options of an export: where the model comes from, and what the file looks like.

Each field declares its option; the command line and the keyword arguments are made from them. Options of graph passes
are declared by the passes themselves, and are kept here by their keywords.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec

from nfexport.recipe.opsets import DEFAULT_OPSET
from nfexport.recipe.option import Option
from nfexport.recipe.validation import Above0, Finite, Natural, Pixels, Positive

Asked = Literal["logits", "probs", "sigmoid", "topk", "features", "embedding", "embedding-unpooled"]
"""The kinds of output that a file can return."""

Exporter = Literal["auto", "torchscript", "dynamo"]
AskedCropMode = Literal["center", "squash", "border"]
AskedInterpolation = Literal["bicubic", "bilinear"]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a model comes from. checkpoint is the path of a weights file; a recipe inside a file never holds it."""

    model: str
    pretrained: Annotated[
        bool,
        Option(
            flag="--pretrained",
            help="Use the trained weights of the architecture's default tag.",
            section="Source",
            commands=("export",),
        ),
    ] = False
    checkpoint: Annotated[
        str | None,
        Option(
            flag="--checkpoint",
            kind="path",
            help="Load the weights from a .safetensors, .pth, .pt, .bin, .ckpt or .tar file.",
            section="Source",
            commands=("export",),
        ),
    ] = None
    ema: Annotated[
        bool | None,
        Option(
            flag="--ema",
            kind="switch",
            help="Take the averaged (EMA) weights of the checkpoint, or the raw ones.",
            default_text="EMA, if the checkpoint has them",
            section="Source",
            commands=("export",),
        ),
    ] = None
    seed: Annotated[
        Natural | None,
        Option(
            flag="--seed",
            kind="integer",
            minimum=0,
            help="Seed of untrained weights.",
            default_text="0; a factory's weights are kept",
            section="Source",
            commands=("export",),
        ),
    ] = None
    num_classes: Annotated[
        Natural | None,
        Option(
            flag="--num-classes",
            kind="integer",
            minimum=0,
            help="Number of classes; trained weights of another number get a seeded classifier.",
            default_text="the model's",
            section="Source",
            commands=("export",),
        ),
    ] = None
    in_chans: Annotated[
        Positive | None,
        Option(
            flag="--in-chans",
            kind="integer",
            minimum=1,
            help="Number of channels of the input; timm adapts trained weights of another number.",
            default_text="the model's",
            section="Source",
            commands=("export",),
        ),
    ] = None
    model_kwargs: Annotated[
        Mapping[str, Any],
        Option(
            flag="--model-kwargs",
            kind="values",
            multiple=True,
            metavar="KEY=VALUE",
            help="Arguments of the model's constructor; values are Python literals.",
            section="Source",
            commands=("export",),
        ),
    ] = {}
    inputs: Annotated[
        tuple[str, ...],
        Option(
            flag="--input",
            keyword="inputs",
            kind="text",
            multiple=True,
            metavar="NAME=DTYPE[DIM,...]",
            help="An input of a torch module, such as image=float32[batch,3,224,224]; named dims are dynamic.",
            section="Source",
            commands=("export",),
        ),
    ] = ()
    image_size: Annotated[
        # a bound beside a tuple of fixed length in one union crashes msgspec 0.22: see __post_init__
        int | tuple[Pixels, Pixels] | Literal["train", "test"] | None,
        Option(
            flag="--image-size",
            kind="size",
            choices=("train", "test"),
            help="Image size in pixels.",
            default_text="the size timm reports results at",
            section="Source",
            commands=("export",),
        ),
    ] = None

    def __post_init__(self) -> None:
        if isinstance(self.image_size, int) and self.image_size < 1:
            raise ValueError(f"an image of {self.image_size} pixels is not possible")


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The options that describe the exported file.

    passes holds the options of graph passes, by keyword ({'fold_ws': True}), to_options those of the format that `to`
    names ({'ir_precision': 'fp16'}); extra_passes the passes that were asked
    for by name, with their parameters: those of other packages, and a user's own. mean and std are the statistics
    that the network was trained with, one number a channel, in 0..1 or in 0..255."""

    opset: Annotated[
        int | None,
        Option(
            flag="--opset",
            kind="integer",
            help="Exact ONNX opset of the file, 9 or later.",
            default_text=f"{DEFAULT_OPSET}, or later if an operator needs it",
            commands=("export",),
        ),
    ] = None
    exporter: Annotated[
        Exporter,
        Option(
            flag="--exporter",
            kind="choice",
            choices=get_args(Exporter),
            help="PyTorch's exporter; auto uses TorchScript up to opset 17 and dynamo from 18 on.",
            commands=("export",),
        ),
    ] = "auto"
    batch: Annotated[
        Positive | Literal["dynamic"],
        Option(
            flag="--batch",
            kind="size",
            choices=("dynamic",),
            metavar="N|dynamic",
            help="Batch size.",
            commands=("export",),
        ),
    ] = "dynamic"
    dynamic_size: Annotated[
        bool,
        Option(
            flag="--dynamic-size",
            help="Accept images of any size (height and width are symbolic).",
            commands=("export",),
        ),
    ] = False
    optimize: Annotated[
        bool,
        Option(flag="--optimize", help="Apply every fold and rewrite that makes the file faster."),
    ] = False
    extra_passes: Annotated[
        Mapping[str, Mapping[str, Any]],
        Option(
            flag="--pass",
            keyword="extra_passes",
            kind="text",
            multiple=True,
            metavar="FILE.py:CLASS[:KEY=VALUE,...]",
            help="Run a pass of your own, or NAME for one of another package.",
        ),
    ] = {}
    input_name: Annotated[
        str,
        Option(
            flag="--input-name",
            kind="text",
            help="Name of the input tensor.",
            section="Outputs",
            commands=("export",),
        ),
    ] = "input"
    output_name: Annotated[
        str | None,
        Option(
            flag="--output-name",
            kind="text",
            help="Name of a single output tensor.",
            default_text="output, or its kind",
            section="Outputs",
            commands=("export",),
        ),
    ] = None
    output_names: Annotated[
        tuple[str, ...],
        Option(
            flag="--output-names",
            kind="names",
            metavar="NAME,...",
            help="Names of all outputs of a torch module, in order.",
            default_text="from the keys and fields that it returns",
            section="Outputs",
            commands=("export",),
        ),
    ] = ()
    outputs: Annotated[
        tuple[Asked, ...],
        Option(
            flag="--output",
            keyword="outputs",
            kind="choice",
            choices=("logits", "probs", "sigmoid", "topk"),
            multiple=True,
            help="What the file returns; repeat it for several outputs.",
            default_text="logits; the embedding of a network without a classifier",
            section="Outputs",
            commands=("export",),
        ),
    ] = ()
    top_k: Annotated[
        Positive,
        Option(
            flag="--top-k",
            kind="integer",
            minimum=1,
            help="Number of classes that topk returns.",
            section="Outputs",
            commands=("export",),
        ),
    ] = 5
    feature_levels: tuple[int, ...] = ()
    mean: Annotated[
        tuple[Finite, ...] | None,
        Option(
            flag="--mean",
            kind="numbers",
            help="Mean that the network was trained with, per channel, in 0..1 or 0..255.",
            default_text="the model's",
            section="Preprocessing",
        ),
    ] = None
    std: Annotated[
        tuple[Finite, ...] | None,
        Option(
            flag="--std",
            kind="numbers",
            help="Standard deviation that the network was trained with, in the unit of --mean.",
            default_text="the model's",
            section="Preprocessing",
        ),
    ] = None
    crop_pct: Annotated[
        Above0 | None,
        Option(
            flag="--crop-pct",
            kind="number",
            help="Fraction of the resized image that the crop keeps.",
            default_text="timm's",
            section="Preprocessing",
            commands=("export",),
        ),
    ] = None
    crop_mode: Annotated[
        AskedCropMode | None,
        Option(
            flag="--crop-mode",
            kind="choice",
            choices=get_args(AskedCropMode),
            help="How images are cropped.",
            section="Preprocessing",
            commands=("export",),
        ),
    ] = None
    interpolation: Annotated[
        AskedInterpolation | None,
        Option(
            flag="--interpolation",
            kind="choice",
            choices=get_args(AskedInterpolation),
            help="How images are resized.",
            section="Preprocessing",
            commands=("export",),
        ),
    ] = None
    labels: tuple[str, ...] | None = None
    to: Annotated[
        str,
        Option(
            flag="--to",
            kind="choice",
            help="Write another format next to the ONNX file too, such as OpenVINO's IR (.xml, .bin).",
            section="Output file",
            commands=("export",),
        ),
    ] = "onnx"
    to_options: Mapping[str, Any] = {}
    external_data: Annotated[
        bool | None,
        Option(
            flag="--external-data",
            kind="switch",
            help="Store the weights in a .data file next to the .onnx file.",
            default_text="only past 2 GiB",
            section="Output file",
        ),
    ] = None
    passes: Mapping[str, Any] = {}


def recorded_options(options: ExportOptions) -> ExportOptions:
    """Return the options in the form that a recipe keeps.

    How weights are stored and additional formats do not affect the graph. A default that was asked for by name is
    left out like one that was not, as the same file comes of it."""
    return msgspec.structs.replace(
        options,
        opset=None if options.opset == DEFAULT_OPSET else options.opset,
        outputs=() if options.outputs == ("logits",) else options.outputs,
        external_data=None,
        to="onnx",
        to_options={},
    )


class SurgeryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The options of a surgery: the fields of ExportOptions that apply to any graph."""

    optimize: bool = False
    extra_passes: Mapping[str, Mapping[str, Any]] = {}
    mean: tuple[Finite, ...] | None = None
    std: tuple[Finite, ...] | None = None
    external_data: bool | None = None
    passes: Mapping[str, Any] = {}


@functools.cache
def declared(kind: type[msgspec.Struct]) -> Mapping[str, Option]:
    """Return the options that the fields of a type declare, by field."""
    found: dict[str, Option] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        for extra in getattr(hint, "__metadata__", ()):
            if isinstance(extra, Option):
                found[name] = extra
    return found

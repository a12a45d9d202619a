"""`nfexport MODEL …`, the same as `nfexport export MODEL …`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import BatchType, SizeType, reporting, writing
from nfexport.cli.pass_options import (
    EMBEDDINGS,
    LevelsType,
    back_options,
    front_options,
    network_options,
    network_overrides,
    speed_options,
)
from nfexport.cli.quantize_options import quantize_options, take_int8_options
from nfexport.recipe.opsets import DEFAULT_OPSET


@click.command(name="export", short_help="Export a timm model to ONNX.")
@click.argument("model")
@click.option("-o", "--out", "target", type=click.Path(path_type=Path), help="File to write. [default: MODEL.onnx]")
@click.option("--opset", type=int, default=DEFAULT_OPSET, show_default=True, help="ONNX opset, exactly, from 9 on.")
@click.option("--fold-ws", is_flag=True, help="Fold weight standardisation into constant weights.")
@click.option("--fold-scales", is_flag=True, help="Fold constant factors between layers into weights.")
@speed_options
@click.option("--pretrained", is_flag=True, help="Take the trained weights of the architecture's default tag.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Take the weights from a .safetensors, .pth or .pt file.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of untrained weights.")
@click.option("--image-size", type=SizeType(), help="Picture size. [default: the size timm reports results at]")
@click.option("--dynamic-size", is_flag=True, help="Take pictures of other sizes too, where the architecture does.")
@click.option("--num-classes", type=int, help="Classes of the classifier. [default: the architecture's]")
@click.option("--batch", type=BatchType(), default="dynamic", show_default=True, help="Batch size.")
@click.option("--input-name", default="input", show_default=True, help="Name of the input tensor.")
@click.option("--output-name", help="Name of a lone output tensor. [default: output, or what it is]")
@front_options
@back_options
@click.option(
    "--features",
    "feature_levels",
    is_flag=False,
    flag_value="all",
    type=LevelsType(),
    help="Give feature maps, as timm's features_only does.",
)
@click.option(
    "--embedding",
    "embeddings",
    is_flag=False,
    flag_value="pooled",
    type=click.Choice(list(EMBEDDINGS)),
    multiple=True,
    help="Give the embedding in front of the classifier, pooled or not.",
)
@click.option(
    "--exporter",
    type=click.Choice(["auto", "torchscript", "dynamo"]),
    default="auto",
    show_default=True,
    help="torch's exporter; auto takes TorchScript up to opset 17 and dynamo from 18.",
)
@network_options
@click.option(
    "--labels",
    "label_file",
    type=click.Path(path_type=Path),
    help="Names of the classes for the recipe: one a line, or JSON. [default: timm's]",
)
@click.option("--quantize", type=click.Choice(["int8"]), help="Write the int8 form of the file; see --calibrate.")
@quantize_options
@writing
@reporting
def command(
    model: str,
    target: Path | None,
    outputs: tuple[str, ...],
    feature_levels: tuple[int, ...] | None,
    embeddings: tuple[str, ...],
    rename: tuple[tuple[str, str], ...],
    label_file: Path | None,
    quantize: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> int:
    """Export the timm model MODEL to an ONNX file, and verify it before it gets its name.

    MODEL is an architecture (nfnet_f0: seeded, untrained weights), or architecture.tag
    (nfnet_l0.ra2_in1k: those trained weights).
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.images.labels import read_labels
    from nfexport.workflows.export import export

    int8 = take_int8_options(quantize, options)
    features = [] if feature_levels is None else ["features"]
    asked: list[Any] = [*outputs, *features, *(EMBEDDINGS[form] for form in embeddings)]
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = export(
            model,
            target,
            progress=progress,
            outputs=asked or ["logits"],
            feature_levels=feature_levels or (),
            rename=dict(rename),
            network=network_overrides(options),
            labels=None if label_file is None else read_labels(label_file),
            quantize=int8,
            **options,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        console.show_export(result)
    return 0

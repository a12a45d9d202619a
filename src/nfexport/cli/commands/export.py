"""`nfexport MODEL …`, the same as `nfexport export MODEL …`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nfexport.cli.declared_options import keywords, options_of
from nfexport.cli.options import deprecated, renamed, reporting, target_option, verifying
from nfexport.cli.parameter_types import LevelsType, NumbersType
from nfexport.cli.quantize_options import quantize_options, take_int8_options
from nfexport.cli.sections import SectionedCommand, option

EMBEDDINGS = {"pooled": "embedding", "unpooled": "embedding-unpooled"}
"""The words of --embedding, and the outputs that they ask for."""


@click.command(name="export", cls=SectionedCommand)
@click.argument("model", required=False)
@option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take model and options from a recipe (.toml, .json), or from the one inside an .onnx file.",
    section="Source",
)
@options_of("export")
@option(
    "--features",
    "feature_levels",
    is_flag=False,
    flag_value="all",
    type=LevelsType(),
    help="Return feature maps, as timm's features_only does.",
    section="Outputs",
)
@option(
    "--embedding",
    "embeddings",
    is_flag=False,
    flag_value="pooled",
    type=click.Choice(list(EMBEDDINGS)),
    multiple=True,
    help="Return the embedding before the classifier, pooled or not.",
    section="Outputs",
)
@option(
    "--labels",
    "label_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Class names for the recipe: one per line, or JSON.  [default: timm's]",
    section="Outputs",
)
@option("--quantize", type=click.Choice(["int8"]), help="Write the int8 form; see --calibrate.", section="Precision")
@quantize_options
@target_option("MODEL.onnx")
@deprecated("--network-mean", "network_mean", NumbersType())
@deprecated("--network-std", "network_std", NumbersType())
@verifying
@reporting
def command(
    model: str | None,
    recipe_file: Path | None,
    target: Path | None,
    feature_levels: tuple[int, ...] | None,
    embeddings: tuple[str, ...],
    label_file: Path | None,
    quantize: str | None,
    verify: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> int:
    """Export MODEL to an ONNX file, and verify it before it gets its name.

    MODEL is one of these:

    \b
    nfnet_f0               an architecture of timm: seeded, untrained weights
    nfnet_l0.ra2_in1k      architecture.tag: those trained weights
    hf-hub:org/name[@rev]  a repository of the model hub in timm's layout
    local-dir:PATH         a folder with config.json and weights, as timm writes it
    model_best.pth.tar     a checkpoint that says its architecture
    FILE.py:factory        a function or class that makes your own torch module
    package.module:factory the same of an installed package; see --input
    FILE.pt2               a program of torch.export
    """  # noqa: D301  (click reads the character)
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_export import show_export
    from nfexport.workflows.export import export

    renamed(values, {"network_mean": "mean", "network_std": "std"})
    int8 = take_int8_options(quantize, values)
    asked = keywords("export", values)
    features = [] if feature_levels is None else ["features"]
    if outputs := [*asked.pop("outputs", ()), *features, *(EMBEDDINGS[form] for form in embeddings)]:
        asked |= {"outputs": outputs, "feature_levels": feature_levels or ()}
    if label_file is not None:
        from nfexport.images.labels import read_labels

        asked["labels"] = read_labels(label_file)
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = export(
            _subject(model, recipe_file),
            target,
            quantize=int8,
            named=model if recipe_file is not None else None,
            verify=verify,
            progress=progress,
            **asked,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        show_export(result, console)
    return 0


def _subject(model: str | None, recipe_file: Path | None) -> Any:
    """Return what is exported: a model by its name, or a recipe."""
    from nfexport.errors import RecipeError
    from nfexport.workflows.requests import read_request

    if recipe_file is None:
        if model is None:
            raise RecipeError("neither a model nor a recipe is named", fix="pass MODEL, or --recipe FILE")
        return model
    return read_request(recipe_file)

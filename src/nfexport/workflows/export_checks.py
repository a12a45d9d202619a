"""What is checked of an export before any expensive work: options that contradict each other, or the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.errors import ExportError, RecipeError, VerificationFailed
from nfexport.graph.atomic_files import check_target
from nfexport.quantization.int8 import Int8
from nfexport.recipe.export_options import ExportOptions
from nfexport.recipe.opsets import DEFAULT_OPSET, check_opset
from nfexport.recipe.request import RecipeRequest
from nfexport.sources.model.missing_weights import missing_weights
from nfexport.workflows import other_format

if TYPE_CHECKING:
    from nfexport.sources import LoadedModel

IMAGE_OPTIONS = ("mean", "std", "crop_pct", "crop_mode", "interpolation", "dynamic_size")
IMAGE_PASSES = ("normalize", "channels", "resize", "input_dtype", "input_layout", "input_range")


def check_request(request: RecipeRequest, target: Path, quantize: Int8 | None) -> None:
    """Raise, before any expensive work, if options contradict each other or the output cannot be written."""
    options = request.options
    check_target(target)
    if request.needs_checkpoint and request.source.checkpoint is None:
        raise missing_weights(request.source.model, "the recipe's file")
    if request.operations and (quantize is not None or options.to != "onnx"):
        flag = "--to" if quantize is None else "--quantize"
        raise RecipeError(
            f"{flag} cannot be combined with a recipe that holds operations on the finished file",
            fix="export the recipe first, then convert or quantise the result",
        )
    check_opset(options.opset or DEFAULT_OPSET)
    for flag, name in (("--input-name", options.input_name), ("--output-name", options.output_name)):
        if name is not None and (not name or name != name.strip() or "/" in name):
            raise RecipeError(f"'{name}' cannot be the name of a tensor", fix=f"pass another {flag}")
    if options.input_name == (options.output_name or "output"):
        raise RecipeError(
            f"input and output are both named '{options.input_name}'",
            fix="pass another --input-name or --output-name",
        )
    if options.dynamic_size and options.passes.get("resize") is not None:
        raise RecipeError("--dynamic-size and --resize both change the size", fix="pass one of them")
    other_format.check(options)
    if quantize is not None:
        quantize.check(options.opset or DEFAULT_OPSET)
        if (precision := options.passes.get("precision")) is not None:
            raise RecipeError(
                f"a file cannot be both int8 and {precision}", fix="leave --precision or --quantize out"
            )
        if options.to != "onnx":
            raise RecipeError(f"--to {options.to} would convert the float file", fix="leave --to or --quantize out")


def check_no_image_options(loaded: LoadedModel, options: ExportOptions) -> None:
    """Raise RecipeError for an option that is for images, at a model that takes something else."""
    given = [name for name in IMAGE_OPTIONS if getattr(options, name) not in (None, False)]
    given += [name for name in IMAGE_PASSES if options.passes.get(name) is not None]
    if given:
        takes = ", ".join(spec.describe() for spec in loaded.tensors)
        raise RecipeError(
            f"--{given[0].replace('_', '-')} is for images, and {loaded.model_name} takes {takes}", fix="leave it out"
        )


@contextlib.contextmanager
def explained(loaded: LoadedModel) -> Iterator[None]:
    """Add to an error that a module which decides by its own numbers may be the cause, and where it reads them."""
    try:
        yield
    except (ExportError, VerificationFailed) as error:
        reads = () if loaded.call is None else loaded.call.reads
        if not reads:
            raise
        problem = (
            f"{loaded.architecture} reads numbers of its own tensors ({'; '.join(reads)}), and a graph cannot decide "
            f"by them: {error.problem}"
        )
        fix = "compute both branches and choose with torch.where, or take the decision out of the module"
        if isinstance(error, VerificationFailed):
            raise VerificationFailed(problem, fix=fix, report=error.report) from error
        raise ExportError(problem, fix=fix) from error

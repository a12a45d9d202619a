"""Repeat the operations on a finished file: surgeries and a quantisation, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from nfexport.errors import RecipeError
from nfexport.graph.atomic_files import temporary_folder
from nfexport.progress import Progress
from nfexport.quantization.int8 import Int8
from nfexport.quantization.operation import quantize_file
from nfexport.recipe.about import About
from nfexport.recipe.quantize_step import QuantizeOptions
from nfexport.recipe.recipe import Operation
from nfexport.recipe.request import RecipeRequest
from nfexport.recipe.validation import convert
from nfexport.workflows.results import ExportResult
from nfexport.workflows.surgery import surgery


def repeat_operations(
    export: Callable[..., ExportResult],
    request: RecipeRequest,
    target: Path,
    *,
    about: About | None,
    verify: bool,
    progress: Progress | None,
) -> ExportResult:
    """Export, and do each operation of the request to the file; the last one writes the target.

    Raises RecipeError for an operation that cannot be repeated from the recipe alone, and what export and surgery
    do; nothing is written then."""
    for operation in request.operations:
        if operation.command == "quantize" and _quantisation(operation).calibrate is None:
            raise RecipeError(
                "the file was quantised with images that its recipe does not hold",
                fix="export the float file, and run 'nfexport quantize' with the images",
            )
    options = msgspec.structs.replace(request.options, external_data=None)
    plain = msgspec.structs.replace(request, options=options, operations=())
    with temporary_folder(target) as folder:
        path = folder / "step0.onnx"
        made: ExportResult = export(plain, path, about=about, verify=verify, progress=progress)
        for number, operation in enumerate(request.operations, start=1):
            last = number == len(request.operations)
            after = target if last else folder / f"step{number}.onnx"
            external = request.options.external_data if last else None
            made = _repeat(operation, path, after, made, external, verify=verify, progress=progress)
            path = after
    return dataclasses.replace(made, path=target)


def _repeat(
    operation: Operation,
    source: Path,
    target: Path,
    made: ExportResult,
    external_data: bool | None,
    *,
    verify: bool,
    progress: Progress | None,
) -> ExportResult:
    if operation.command == "quantize":
        asked = Int8(**msgspec.structs.asdict(_quantisation(operation)))
        quantized = quantize_file(source, target, asked, progress=progress)
        return dataclasses.replace(
            made, path=target, recipe=quantized.recipe, facts=quantized.facts, quantization=quantized
        )
    options: dict[str, Any] = {**operation.options, "external_data": external_data}
    # what was done to the file once was allowed then
    done = surgery(source, target, force=True, verify=verify, progress=progress, **options)
    if done.recipe is None or done.facts is None:
        raise RecipeError("the surgery of the recipe leaves no recipe", fix="leave --extract-outputs out of it")
    return dataclasses.replace(made, path=target, recipe=done.recipe, facts=done.facts)


def _quantisation(operation: Operation) -> QuantizeOptions:
    return convert(dict(operation.options), QuantizeOptions, "the quantisation of the recipe")

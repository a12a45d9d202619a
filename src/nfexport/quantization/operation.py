"""Quantise a folded file that nfexport exported, from reading it to writing its int8 form."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from msgspec import to_builtins
from msgspec.structs import replace

from nfexport.errors import OnnxFileError, OutputError, PassError, RecipeError
from nfexport.graph.atomic_files import check_target, staged
from nfexport.graph.model_writer import write_model
from nfexport.inspection import FileFacts, inspect
from nfexport.progress import Progress, Stages
from nfexport.quantization.agreement import Agreement, measure_agreement
from nfexport.quantization.calibration import (
    Calibration,
    make_calibration,
)
from nfexport.quantization.equivalence import prove_equivalence
from nfexport.quantization.identity import graph_digest
from nfexport.quantization.int8 import OLDEST, Int8
from nfexport.quantization.noise import measure_noise, noisiest
from nfexport.quantization.quantiser import run_quantiser
from nfexport.quantization.quantize_result import QuantizeResult
from nfexport.quantization.selection import kept_in_float, products, quantisable
from nfexport.recipe.about import EVALUATION_KEY
from nfexport.recipe.interface import precision
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.quantize_step import QUANTIZE, Method
from nfexport.recipe.recipe import Operation, PassStep, Recipe
from nfexport.runtimes import open_session
from nfexport.verification.claims import under_test

MARGIN = 3.0
"""The bound of verify, over the largest error on nine seeded images: with ten other seeds the error was 1.1 to 2.7
times as large, on six files."""


def quantize(
    source: str | Path,
    output: str | Path,
    *,
    calibrate: str | Path | int,
    keep_float: Sequence[str] = (),
    keep_worst: int | None = None,
    method: Method = "minmax",
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizeResult:
    """Write an int8 form of a folded file, as a QDQ graph, and measure how far it is from the float file.

    source is a float32 ONNX file with a recipe, of opset 13 or later. calibrate is a folder of images, which are
    preprocessed as the recipe says, or a number of seeded images; method is how ONNX Runtime takes a range from
    them. The first and the last layer stay in float, as do those that keep_float names (* matches any characters),
    and the keep_worst layers with the most noise, or those above a limit (nfexport.quantization.noise).

    The int8 graph is proven to be the source with Q and DQ nodes inserted (nfexport.quantization.equivalence); its
    recipe gets a step with its options, its error, and the digest of its graph. The same source, images and versions
    give the same bytes.
    Raises PassError for a file whose weights are computed in the graph, RecipeError for options or a recipe
    that do not fit, OnnxFileError, ImageError and OutputError."""
    asked = Int8(calibrate=calibrate, keep_float=tuple(keep_float), keep_worst=keep_worst, method=method, seed=seed)
    return quantize_file(Path(source), Path(output), asked, progress=progress)


def quantize_file(source: Path, target: Path, asked: Int8, *, progress: Progress | None = None) -> QuantizeResult:
    """Quantise a file as `quantize` does; source and target may be the same file."""
    check_target(target)
    stages = Stages(progress)
    with stages.stage("read"):
        facts = inspect(source)
        recipe = check_file(source, facts, asked)
        model = onnx.load(source)
        images = make_calibration(recipe, asked.calibrate, seed=asked.seed)
        record = images.record()
        kept = kept_in_float(model.graph, asked.keep_float)
    with stages.stage("quantize"), _folder_beside(target) as folder:
        quantised, noises = _quantise(model, kept, images, asked, folder, stages)
    with stages.stage("prove"):
        _copy_metadata(model, quantised)
        prove_equivalence(model, quantised)
    with stages.stage("measure"):
        on_calibration, on_seeded = _compare(model, quantised, recipe, images)
    bound = float(f"{MARGIN * on_seeded.rms_max:.2e}")
    step = PassStep(
        name=QUANTIZE,
        params={
            "form": "int8",
            "method": asked.method,
            "calibration": to_builtins(record),
            "keep_float": list(asked.keep_float),
            "keep_worst": asked.keep_worst,
            "kept": list(kept),
            "error": float(f"{on_seeded.rms_max:.2e}"),
            "bound": bound,
            "graph_sha256": graph_digest(quantised),
        },
    )
    done = Operation(command="quantize", options=_recorded(asked), steps=(step,))
    after = replace(recipe, operations=(*recipe.operations, done))
    with stages.stage("write"), staged(target) as partial:
        _write(quantised, after, partial)
        written = dataclasses.replace(inspect(partial), path=target)
    found = products(model.graph)
    return QuantizeResult(
        source=source,
        path=target,
        recipe=after,
        facts=written,
        products=len(found),
        int8_products=len([node for node in found if node.name in noises and node.name not in kept]),
        kept=kept,
        noise=noises,
        calibration=record,
        method=asked.method,
        on_calibration=on_calibration,
        on_seeded=on_seeded,
        bound=bound,
        size_before=facts.total_size,
        seconds=stages.seconds,
    )


def _recorded(asked: Int8) -> dict[str, Any]:
    """Return the options as a recipe keeps them: without the path of a folder of images."""
    options = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    if not isinstance(asked.calibrate, int):
        del options["calibrate"]
    return options


def check_file(path: Path, facts: FileFacts, asked: Int8) -> Recipe:
    """Return the recipe of a file that can be quantised.

    Raises OnnxFileError for one without a recipe, RecipeError for one of another precision or an older opset,
    PassError for one that computes its weights."""
    if facts.recipe_error is not None:
        raise facts.recipe_error
    if facts.recipe is None:
        raise OnnxFileError(
            f"'{path}' has no recipe, so its preprocessing is unknown",
            fix="export the model with nfexport, and quantise that file",
        )
    if (found := precision(facts.recipe)) != "float32":
        raise RecipeError(f"'{path}' is {found} already", fix="start from the float32 file")
    if facts.computed_conv_weights:
        raise PassError(
            f"{facts.computed_conv_weights} convolutions of '{path}' compute their weight, and a computed weight "
            "cannot be quantised",
            fix=f"export with --fold-ws, or fold the file first: nfexport surgery '{path}' -o FOLDED.onnx --fold-ws",
        )
    if facts.constant_conv_weights:
        raise PassError(
            f"{facts.constant_conv_weights} convolutions of '{path}' keep their weight in a Constant node, which the "
            "quantiser ignores",
            fix="export without --simplify",
        )
    asked.check(
        facts.opset_imports.get("", 0),
        fix=f"convert it: nfexport surgery '{path}' -o NEWER.onnx --opset {OLDEST}",
    )
    return facts.recipe


def _quantise(
    model: onnx.ModelProto, kept: dict[str, str], images: Calibration, asked: Int8, folder: Path, stages: Stages
) -> tuple[onnx.ModelProto, dict[str, float]]:
    """Return the int8 graph, and the noise of each layer; the noisiest layers are added to kept."""
    stages.progress.step(f"calibrating on {images.count} images")
    quantised = run_quantiser(model, _selected(model, kept), images, method=asked.method, folder=folder)
    stages.progress.step("measuring the noise of each layer")
    noises = measure_noise(model, quantised, images, kept)
    noisy = noisiest(noises, asked.keep_worst)
    for name in noisy:
        kept[name] = f"noise of {noises[name]:.1e} of its signal"
    if noisy:
        stages.progress.step("quantising again without the noisiest layers")
        quantised = run_quantiser(model, _selected(model, kept), images, method=asked.method, folder=folder)
    return quantised, noises


def _compare(
    model: onnx.ModelProto, quantised: onnx.ModelProto, recipe: Recipe, images: Calibration
) -> tuple[Agreement, Agreement]:
    """Return the agreement of the two graphs on the calibration images, and on those of the verifier."""
    exact, rounded = (open_session(one.SerializeToString()) for one in (model, quantised))
    drawn = under_test(recipe)
    seeded = (drawn.feeds(case.arrays) for case in drawn.cases(0))
    on_calibration, on_seeded = (
        measure_agreement(exact, rounded, recipe.outputs, batches) for batches in (images.batches(), seeded)
    )
    return on_calibration, on_seeded


def _selected(model: onnx.ModelProto, kept: dict[str, str]) -> list[str]:
    selected = quantisable(model.graph, kept)
    types = {node.name: node for node in products(model.graph)}
    if not any(name in types for name in selected):
        raise RecipeError(
            f"none of the {len(types)} layers is left to quantise", fix="keep fewer of them in float, with --worst 0"
        )
    return selected


def _copy_metadata(source: onnx.ModelProto, quantised: onnx.ModelProto) -> None:
    """Copy names and metadata of the source, except for an accuracy, which is that of the float file."""
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(entry for entry in source.metadata_props if entry.key != EVALUATION_KEY)
    quantised.producer_name, quantised.producer_version = source.producer_name, source.producer_version
    quantised.graph.name, quantised.doc_string = source.graph.name, source.doc_string
    # the quantiser imports its own domain, whether or not a node is of it
    used = {"", *(node.domain for node in quantised.graph.node)}
    kept = [entry for entry in quantised.opset_import if entry.domain in used]
    del quantised.opset_import[:]
    quantised.opset_import.extend(kept)


def _write(quantised: onnx.ModelProto, recipe: Recipe, partial: Path) -> None:
    written = ir.from_proto(quantised)
    written.metadata_props.update(write_recipe(recipe))
    write_model(written, partial)
    try:
        onnx.checker.check_model(str(partial), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise PassError(
            f"the int8 graph is refused by onnx's checker ({str(error).strip().splitlines()[0]})",
            fix="nothing was written; leave the file in float, and report it",
        ) from error


@contextlib.contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """Yield a folder next to the target for the quantiser's own files.

    Raises OutputError if they cannot be written."""
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            yield Path(folder)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix="free some space, or name another file with -o",
        ) from error

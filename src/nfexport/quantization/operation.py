"""Quantise a folded file of nfexport's: the spine of this package."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from nfexport.errors import OnnxFileError, OutputError, PassError, RecipeError
from nfexport.graph.atomic_files import check_target, staged
from nfexport.graph.model_writer import write_model
from nfexport.inspection import FileFacts, inspect
from nfexport.progress import Progress, Stages
from nfexport.quantization.agreement import agreement
from nfexport.quantization.calibration import (
    Calibration,
    calibration,
    network_preprocessing,
    served_form,
)
from nfexport.quantization.equivalence import prove
from nfexport.quantization.identity import QUANTIZE, graph_digest
from nfexport.quantization.int8 import OLDEST, Int8, Method
from nfexport.quantization.noise import noise, worst
from nfexport.quantization.quantiser import quantised
from nfexport.quantization.quantize_result import QuantizeResult
from nfexport.quantization.selection import kept_in_float, products, quantisable
from nfexport.recipe.about import EVALUATION_KEY
from nfexport.recipe.interface import precision
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.recipe import PassStep, Recipe
from nfexport.runtimes import open_session
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.verification.verifier import cases_for

MARGIN = 3.0
"""Between the error on nine seeded pictures, the worst of them, and what verify allows on others: with ten other
seeds it was 1.1 to 2.7 times as large, on six files."""


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
    """Write an int8 form of a folded file, in QDQ form, and measure how far it is from the float one.

    source is a float32 ONNX file with a recipe, of opset 13 or later. calibrate is a folder of pictures, which
    are prepared as the recipe says, or a number of seeded pictures; method is how ONNX Runtime takes a range
    from them. The first and the last layer stay in float, those that keep_float names (* for any characters),
    and the keep_worst layers with most noise, or those above a limit (nfexport.quantization.noise).

    The outcome is proven to be the source with Q and DQ nodes in it (nfexport.quantization.equivalence); its recipe
    gets a step that says how it was made, its error, and the digest of its graph. The same source, pictures
    and versions give the same bytes.
    Raises PassError for a file whose weights are computed in the graph, RecipeError for options or a recipe
    that do not fit, OnnxFileError, ImageError and OutputError."""
    asked = Int8(calibrate=calibrate, keep_float=tuple(keep_float), keep_worst=keep_worst, method=method, seed=seed)
    return quantize_file(Path(source), Path(output), asked, progress=progress)


def quantize_file(source: Path, target: Path, asked: Int8, *, progress: Progress | None = None) -> QuantizeResult:
    """Do what `quantize` says; source and target may be one file."""
    check_target(target)
    stages = Stages(progress)
    with stages.stage("read"):
        facts = inspect(source)
        recipe = check_file(source, facts, asked)
        model = onnx.load(source)
        pictures = calibration(recipe, asked.calibrate, seed=asked.seed)
        params = pictures.params()
        kept = kept_in_float(model.graph, asked.keep_float)
    with stages.stage("quantize"), _folder_beside(target) as folder:
        outcome, noises = _without_the_worst(
            model, kept, pictures, asked.keep_worst, method=asked.method, folder=folder, stages=stages
        )
    with stages.stage("prove"):
        _take_over(model, outcome)
        prove(model, outcome)
    with stages.stage("measure"):
        exact = open_session(model.SerializeToString())
        rounded = open_session(outcome.SerializeToString())
        compared = (exact, rounded, recipe.input_name, recipe.outputs)
        on_calibration = agreement(*compared, pictures.batches())
        on_seeded = agreement(*compared, (case.array for case in cases_for(_subject(recipe), 0)))
    bound = float(f"{MARGIN * on_seeded.rms_max:.2e}")
    step = PassStep(
        name=QUANTIZE,
        params={
            "form": "int8",
            "method": asked.method,
            "calibration": params,
            "keep_float": list(asked.keep_float),
            "keep_worst": asked.keep_worst,
            "kept": list(kept),
            "error": float(f"{on_seeded.rms_max:.2e}"),
            "bound": bound,
            "graph_sha256": graph_digest(outcome),
        },
    )
    after = dataclasses.replace(recipe, surgery=(*recipe.surgery, step))
    with stages.stage("write"), staged(target) as partial:
        _write(outcome, after, partial)
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
        calibration=params,
        method=asked.method,
        on_calibration=on_calibration,
        on_seeded=on_seeded,
        bound=bound,
        size_before=facts.total_size,
        seconds=stages.seconds,
    )


def check_file(path: Path, facts: FileFacts, asked: Int8) -> Recipe:
    """Return the recipe of a file that can be quantised.

    Raises OnnxFileError for one without a recipe, RecipeError for one of another precision or an older opset,
    PassError for one that computes its weights."""
    if facts.recipe_error is not None:
        raise facts.recipe_error
    if facts.recipe is None:
        raise OnnxFileError(
            f"'{path}' has no recipe, so nobody knows which pictures it takes",
            fix="export the model with nfexport, and quantise that file",
        )
    if (found := precision(facts.recipe)) != "float32":
        raise RecipeError(f"'{path}' is {found} already", fix="start from the float32 file")
    if facts.computed_conv_weights:
        raise PassError(
            f"{facts.computed_conv_weights} convolutions of '{path}' compute their weight, and a weight that is "
            "computed cannot be quantised",
            fix=f"export with --fold-ws, or fold the file first: nfexport surgery '{path}' -o FOLDED.onnx --fold-ws",
        )
    if facts.constant_conv_weights:
        raise PassError(
            f"{facts.constant_conv_weights} convolutions of '{path}' keep their weight in a Constant node, where the "
            "quantiser does not see it",
            fix="export without --simplify",
        )
    asked.check(
        facts.opset_imports.get("", 0),
        fix=f"carry it there: nfexport surgery '{path}' -o NEWER.onnx --opset {OLDEST}",
    )
    return facts.recipe


def _without_the_worst(
    model: onnx.ModelProto,
    kept: dict[str, str],
    pictures: Calibration,
    count: int | None,
    *,
    method: Method,
    folder: Path,
    stages: Stages,
) -> tuple[onnx.ModelProto, dict[str, float]]:
    """Return the int8 graph, and each layer's noise; the worst layers are added to kept."""
    stages.progress.step(f"calibrating on {pictures.pictures} pictures")
    outcome = quantised(model, _chosen(model, kept), pictures, method=method, folder=folder)
    stages.progress.step("measuring each layer's noise")
    noises = noise(model, outcome, pictures, kept)
    noisy = worst(noises, count)
    for name in noisy:
        kept[name] = f"noise of {noises[name]:.1e} of its signal"
    if noisy:
        stages.progress.step("quantising without the worst")
        outcome = quantised(model, _chosen(model, kept), pictures, method=method, folder=folder)
    return outcome, noises


def _chosen(model: onnx.ModelProto, kept: dict[str, str]) -> list[str]:
    chosen = quantisable(model.graph, kept)
    types = {node.name: node for node in products(model.graph)}
    if not any(name in types for name in chosen):
        raise RecipeError(
            f"none of the {len(types)} layers is left to quantise", fix="keep fewer of them in float, with --worst 0"
        )
    return chosen


def _subject(recipe: Recipe) -> ModelUnderTest:
    """Return what the verifier has to know to draw its pictures."""
    form = served_form(recipe)
    return ModelUnderTest(
        input_name=recipe.input_name,
        outputs=recipe.outputs,
        batch=recipe.batch,
        image_size=recipe.image_size,
        in_channels=recipe.in_channels,
        preprocessing=network_preprocessing(recipe),
        steps=form.steps,
    )


def _take_over(source: onnx.ModelProto, outcome: onnx.ModelProto) -> None:
    """Give the outcome the source's names and metadata, but for an accuracy, which was measured of the source."""
    del outcome.metadata_props[:]
    outcome.metadata_props.extend(entry for entry in source.metadata_props if entry.key != EVALUATION_KEY)
    outcome.producer_name, outcome.producer_version = source.producer_name, source.producer_version
    outcome.graph.name, outcome.doc_string = source.graph.name, source.doc_string
    # the quantiser imports its own domain whether or not a node is of it
    used = {"", *(node.domain for node in outcome.graph.node)}
    kept = [entry for entry in outcome.opset_import if entry.domain in used]
    del outcome.opset_import[:]
    outcome.opset_import.extend(kept)


def _write(outcome: onnx.ModelProto, recipe: Recipe, partial: Path) -> None:
    written = ir.from_proto(outcome)
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
    """Yield a folder for the quantiser's own files. Raises OutputError if they cannot be written."""
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            yield Path(folder)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix="free some space, or name another file with -o",
        ) from error

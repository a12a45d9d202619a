"""Files on a side of a comparison: ONNX, or a format that an export was converted to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nfexport import formats
from nfexport.errors import InputError, OnnxFileError
from nfexport.graph.header import read_header
from nfexport.inspection import inspect
from nfexport.inspection.stored_precision import stored_precision
from nfexport.passes.recorded import read_recipe
from nfexport.recipe.recipe import Output, PassStep, Recipe
from nfexport.recipe.second_sizes import second_sizes
from nfexport.recipe.tensor_spec import TensorSpec, parse_inputs
from nfexport.verification.claims import under_test
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest, TensorsUnderTest
from nfexport.verification.surgery.source_feeds import PLAIN
from nfexport.workflows.file_claims import disagreements
from nfexport.workflows.own_modules import specs_of_file
from nfexport.workflows.sides.side import FileSide
from nfexport.workflows.sides.side_name import SideName
from nfexport.workflows.subjects import converted_subject
from nfexport.workflows.surgery_record import read_record

if TYPE_CHECKING:
    from nfexport.formats import Format
    from nfexport.inspection import FileFacts


def file_side(name: SideName) -> FileSide:
    """Return a file in the runtime that was named, or in the one that runs it.

    Raises OnnxFileError if it cannot be read, InputError if the runtime named is not that of its format."""
    path, converted = name.path, formats.of_file(name.path)
    if converted is not None:
        return _converted(name, path, converted)
    facts = inspect(path)
    claim, recipe = _claim(path, facts)
    runtime = name.where or "onnxruntime"
    return FileSide(name=name, claim=claim, path=path, runtime=runtime, recipe=recipe, facts=facts)


def _claim(path: Path, facts: FileFacts) -> tuple[ModelUnderTest, Recipe | None]:
    """Return what a file takes and returns: as its recipe says if it has one that fits, else as it says itself."""
    recipe = facts.recipe
    if recipe is not None and not disagreements(facts, recipe):
        return under_test(recipe), recipe
    header = read_header(path)
    metadata = {entry.key: entry.value for entry in header.metadata_props}
    steps = () if facts.recipe_error is not None or recipe is not None else read_record(metadata).front
    outputs = tuple(
        Output(kind="tensor", name=output.name, index=index) for index, output in enumerate(facts.outputs)
    )
    precision = stored_precision(header)
    if steps and (found := _image_claim(facts, steps, outputs, precision)) is not None:
        return found, None
    specs = specs_of_file(facts)
    others = (sizes,) if (sizes := second_sizes(specs)) else ()
    return TensorsUnderTest(outputs=outputs, precision=precision, tensors=specs, other_sizes=others), None


def _image_claim(
    facts: FileFacts, steps: tuple[PassStep, ...], outputs: tuple[Output, ...], precision: str
) -> ImageModelUnderTest | None:
    """Return the form of a foreign file that surgery has put steps in front of; None if its size is symbolic, or it
    resizes to a size that only its nodes tell."""
    shape = facts.inputs[0].shape or ()
    form = next((step.params for step in steps if step.name == "input-form"), {})
    if len(facts.inputs) != 1 or len(shape) != 4 or any(step.name == "resize" for step in steps):
        return None
    batch, channels, height, width = shape if form.get("layout") != "nhwc" else (shape[0], shape[3], *shape[1:3])
    if not (isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)):
        return None
    statistics = next((step.params for step in steps if step.name == "normalize"), None)
    known = {} if statistics is None else {name: tuple(statistics[name]) for name in ("mean", "std")}
    return ImageModelUnderTest(
        outputs=outputs,
        precision=precision,
        input_name=facts.inputs[0].name,
        batch=batch if isinstance(batch, int) else "dynamic",
        image_size=(height, width),
        in_channels=channels,
        preprocessing=replace(PLAIN, **known),
        steps=steps,
    )


def _converted(name: SideName, path: Path, converted: Format) -> FileSide:
    if converted.runtime is None or name.where not in (None, converted.runtime):
        raise InputError(
            f"'{path}' is {converted.title}, which runs in {converted.runtime or 'no runtime of nfexport'} only",
            fix="leave the runtime out, or name the ONNX file that it was converted from",
        )
    converted.check()
    recipe = read_recipe(converted.read_metadata(path))
    stored = converted.stored_precision(path)
    if recipe is not None:
        claim = converted_subject(under_test(recipe), stored)
    else:
        claim = TensorsUnderTest(
            outputs=_outputs(path, converted),
            precision="fp16-weights" if stored == "fp16" else "float32",
            tensors=_specs(path, converted),
        )
    return FileSide(name=name, claim=claim, path=path, runtime=converted.runtime, recipe=recipe, facts=None)


def _outputs(path: Path, converted: Format) -> tuple[Output, ...]:
    from nfexport.runtimes import open_session

    assert converted.runtime is not None
    names = open_session(path, runtime=converted.runtime).outputs
    return tuple(Output(kind="tensor", name=name, index=index) for index, name in enumerate(names))


def _specs(path: Path, converted: Format) -> tuple[TensorSpec, ...]:
    """Return the inputs of a file without a recipe; a first axis that is free in all of them is the batch."""
    forms = converted.read_inputs(path)
    if not forms:
        raise OnnxFileError(f"'{path}' does not say what it takes", fix="name the ONNX file that it was made from")
    batched = all(shape and shape[0] is None for shape, _ in forms.values())
    written = []
    for number, (input_name, (shape, dtype)) in enumerate(forms.items()):
        dims = [
            str(dim) if dim is not None else "batch" if batched and axis == 0 else f"dim_{number}_{axis}"
            for axis, dim in enumerate(shape)
        ]
        written.append(f"{input_name}={dtype}({','.join(dims)})")
    return parse_inputs(written)

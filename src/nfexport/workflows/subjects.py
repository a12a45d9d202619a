"""The model that a file is compared with: that of its recipe or, without one, the model that a user names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.passes.base import Request
from nfexport.passes.plan import plan, step_of
from nfexport.recipe.interface import steps_in_front
from nfexport.recipe.recipe import Output, PassStep, Preprocessing, Recipe
from nfexport.recipe.statistics import statistics
from nfexport.sources.model.spec import ModelSpec
from nfexport.verification.claims import under_test
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest

if TYPE_CHECKING:
    from nfexport.inspection import FileFacts
    from nfexport.inspection.facts import TensorFacts
    from nfexport.sources import LoadedModel

MOST_CHANNELS = 4
"""The largest number of channels of an image; a longer axis is height or width."""

LOGITS = ("logits", "output")
"""Names that identify the logits among several outputs of the same shape."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedModel:
    """The timm model that a user says a file holds, and what the file does in front of it.

    name, pretrained, checkpoint and weights_seed are those of an export (seed there). mean and std are the statistics
    that the weights were trained with, by default the model's own; normalize says that the file normalises by them.
    input_range is the largest value of a pixel that the file takes, channels their order."""

    name: str
    pretrained: bool = False
    checkpoint: Path | None = None
    weights_seed: int = 0
    normalize: bool = False
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    input_range: float | None = None
    channels: Literal["rgb", "bgr"] | None = None

    @property
    def trained(self) -> bool:
        """True for the weights of a tag, whose number of classes is fixed."""
        return self.checkpoint is None and (self.pretrained or "." in self.name.rpartition("/")[2])


def subject_of_recipe(recipe: Recipe, loaded: LoadedModel) -> ModelUnderTest:
    """Return what the recipe says of its file; the network's preprocessing is that of the loaded model."""
    claim = under_test(recipe)
    if isinstance(claim, ImageModelUnderTest):
        return dataclasses.replace(claim, preprocessing=loaded.preprocessing)
    return claim


def converted_subject(subject: ModelUnderTest, precision: str) -> ModelUnderTest:
    """Return what the form of a file in another format claims, its weights stored in 'fp32' or 'fp16'.

    Its constants have other names, and its converter moves factors between layers."""
    stored = "fp16-weights" if precision == "fp16" and subject.precision == "float32" else subject.precision
    return dataclasses.replace(subject, precision=stored, weights_kept=False, factors_moved=True)


def load_named(named: NamedModel, facts: FileFacts) -> tuple[LoadedModel, ModelUnderTest]:
    """Build the model that the user names, for the images and classes of the file, and say what to compare.

    The file has one input, an image [batch, channels, height, width] or [batch, height, width, channels];
    of its outputs the logits are compared. A batch or a size that is symbolic is dynamic; the model then
    takes its own size.
    Raises OnnxFileError for another interface, and what nfexport.sources.load does."""
    from nfexport import sources

    if named.checkpoint is not None and named.pretrained:
        raise RecipeError("--checkpoint and --pretrained both name weights", fix="pass one of them")
    entry = _image(facts)
    layout = _layout(entry)
    shape = entry.shape or ()
    batch, channels, height, width = shape if layout == "nchw" else (shape[0], shape[3], shape[1], shape[2])
    spec = ModelSpec(
        name=named.name,
        pretrained=named.pretrained,
        checkpoint=named.checkpoint,
        seed=named.weights_seed,
        num_classes=None if named.trained else _classes(facts),
        image_size=(height, width) if isinstance(height, int) and isinstance(width, int) else None,
    )
    try:
        loaded = sources.load(spec)
    except RecipeError as error:
        raise RecipeError(f"'{facts.path}' cannot be {named.name}: {error.problem}", fix=_OTHER) from error
    if channels != loaded.in_channels and isinstance(channels, int):
        raise OnnxFileError(
            f"'{facts.path}' takes images with {channels} channels, but {named.name} takes {loaded.in_channels}",
            fix=_OTHER,
        )
    network = _own_statistics(named, loaded)
    return loaded, ImageModelUnderTest(
        input_name=entry.name,
        outputs=(Output(kind="logits", name=_logits(facts, loaded.num_classes)),),
        batch=batch if isinstance(batch, int) else "dynamic",
        image_size=loaded.image_size,
        in_channels=loaded.in_channels,
        preprocessing=network,
        steps=_steps_in_front(named, entry, layout, network, loaded.in_channels),
    )


_OTHER = "name the model that the file holds with --model"


def _image(facts: FileFacts) -> TensorFacts:
    """Return the file's input, if it is one image."""
    if len(facts.inputs) == 1:
        (entry,) = facts.inputs
        if entry.shape is not None and len(entry.shape) == 4 and entry.dtype in ("float32", "float16", "uint8"):
            return entry
    found = ", ".join(f"{entry.name} {entry.dtype} {list(entry.shape or ())}" for entry in facts.inputs) or "none"
    raise OnnxFileError(
        f"'{facts.path}' has the inputs {found}, but a timm model takes one image",
        fix="cut the file down with 'nfexport surgery', or compare it with recorded answers: "
        f"nfexport golden check '{facts.path}' --golden DIR",
    )


def _layout(entry: TensorFacts) -> Literal["nchw", "nhwc"]:
    assert entry.shape is not None
    second, last = entry.shape[1], entry.shape[3]
    is_last = isinstance(last, int) and last <= MOST_CHANNELS
    return "nhwc" if is_last and not (isinstance(second, int) and second <= MOST_CHANNELS) else "nchw"


def _classes(facts: FileFacts) -> int | None:
    """Return the number of classes, if all scores that the file gives agree on it."""
    sizes = {output.shape[1] for output in facts.outputs if output.shape is not None and len(output.shape) == 2}
    (size,) = sizes if len(sizes) == 1 else (None,)
    return size if isinstance(size, int) else None


def _logits(facts: FileFacts, classes: int) -> str:
    outputs = facts.outputs
    if len(outputs) > 1:
        scores = [output for output in outputs if len(output.shape or ()) == 2 and (output.shape or ())[1] == classes]
        outputs = tuple([output for output in scores if output.name in LOGITS] or scores)
    if len(outputs) != 1:
        raise OnnxFileError(
            f"of the outputs {', '.join(output.name for output in facts.outputs)} of '{facts.path}', "
            f"{len(outputs)} may be the logits of {classes} classes",
            fix="keep the one that is: nfexport surgery IN -o OUT --extract-outputs NAME",
        )
    return outputs[0].name


def _steps_in_front(
    named: NamedModel, entry: TensorFacts, layout: str, network: Preprocessing, channels: int
) -> tuple[PassStep, ...]:
    """Return what the file does in front of the network, as the user says and its input shows."""
    values = {
        "normalize": "nodes" if named.normalize else None,
        "input_range": named.input_range,
        "channels": named.channels,
        "input_dtype": entry.dtype,
        "input_layout": layout,
    }
    request = Request(command="surgery", values=values, network=network, channels=channels)
    return steps_in_front(step_of(item) for item in plan(request, ()))


def _own_statistics(named: NamedModel, loaded: LoadedModel) -> Preprocessing:
    """Return the model's preprocessing, with the statistics that the user passed."""
    if named.mean is None and named.std is None:
        return loaded.preprocessing
    if named.mean is None or named.std is None:
        raise RecipeError("--mean and --std belong together", fix="pass both, or neither for the model's own")
    own = statistics(named.mean, named.std, channels=loaded.in_channels)
    return replace(loaded.preprocessing, mean=own.mean, std=own.std)

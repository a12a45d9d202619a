"""Contradictions between the values of a preset, each with the key at fault."""

from __future__ import annotations

from collections.abc import Iterator

from nfexport.errors import RecipeError
from nfexport.presets.definition import Preset
from nfexport.recipe.opsets import check_opset

Contradiction = tuple[tuple[str, ...], str, str]
"""The key, with the tables around it; problem and fix."""


def contradictions(preset: Preset) -> Iterator[Contradiction]:
    """Yield each, in the order of the file."""
    yield from _interface(preset)
    yield from _images(preset)
    yield from _names(preset)
    yield from _claims(preset)


def _interface(preset: Preset) -> Iterator[Contradiction]:
    try:
        check_opset(preset.opset)
    except RecipeError as error:
        yield ("opset",), error.problem, error.fix
    if len(set(preset.outputs)) != len(preset.outputs):
        yield ("outputs",), "an output is named twice", "name each once"
    if preset.labels is not None and preset.num_classes not in (None, len(preset.labels)):
        problem = f"there are {len(preset.labels)} labels for {preset.num_classes} classes"
        yield ("labels",), problem, "give one for each class"
    if preset.checkpoint is not None and not preset.checkpoint.is_file():
        yield ("checkpoint",), f"there is no file '{preset.checkpoint}'", "name it relative to the preset's folder"


def _images(preset: Preset) -> Iterator[Contradiction]:
    images, (height, width) = preset.images, preset.image_size
    if len(images.mean) != len(images.scale):
        problem = f"there are {len(images.mean)} means and {len(images.scale)} scales"
        yield ("images", "scale"), problem, "give one of each for each channel"
    if max(*images.mean, *images.scale) <= 1:
        yield ("images", "mean"), "mean and scale are for pixels in 0..255", "multiply them by 255"
    if images.resize < max(height, width):
        problem = f"an image of {images.resize} pixels is smaller than its crop of {height}×{width}"
        yield ("images", "resize"), problem, f"resize to {max(height, width)} or more"
    if height != width and images.resize != max(height, width):
        yield ("images", "resize"), "a resize to one number needs a square image", "give a square image_size"


def _names(preset: Preset) -> Iterator[Contradiction]:
    given = [name for kind in preset.outputs for name in default_names(kind)]
    for key in preset.names:
        known = key == "input" or key in given or ("features" in preset.outputs and key.startswith("features_"))
        if not known:
            yield ("names", key), f"the preset has no output '{key}'", f"use input, {', '.join(given)}"
    names = list(preset.names.values())
    for key, name in preset.names.items():
        if names.count(name) > 1:
            yield ("names", key), f"two tensors are named '{name}'", "give each a name of its own"


def _claims(preset: Preset) -> Iterator[Contradiction]:
    claimed = preset.claimed
    if claimed is not None and claimed.top5 is not None and claimed.top5 < claimed.top1:
        yield ("claimed", "top5"), f"top-5 of {claimed.top5:g} is below top-1 of {claimed.top1:g}", "swap them"


def default_names(kind: str) -> tuple[str, ...]:
    """Return the names that an export gives to an output of this kind, except for feature maps."""
    if kind == "topk":
        return "topk_values", "topk_indices"
    return () if kind == "features" else (kind.replace("-", "_"),)

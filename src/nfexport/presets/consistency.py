"""What a preset may not say, each with the table and the key that says it."""

from __future__ import annotations

from collections.abc import Iterator

from nfexport.errors import RecipeError
from nfexport.presets.definition import FORMS, Preset
from nfexport.recipe.opsets import check_opset

OUTPUTS = ("logits", "probs", "topk", "features", "embedding", "embedding-unpooled")
CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("bicubic", "bilinear")

Contradiction = tuple[str, str, str, str]
"""Table, key, problem and fix."""


def contradictions(preset: Preset) -> Iterator[Contradiction]:
    """Yield each, in the order of the file."""
    yield from _interface(preset)
    yield from _pictures(preset)
    yield from _names(preset)
    yield from _claims(preset)


def _interface(preset: Preset) -> Iterator[Contradiction]:
    try:
        check_opset(preset.opset)
    except RecipeError as error:
        yield "", "opset", error.problem, error.fix
    if unknown := [kind for kind in preset.outputs if kind not in OUTPUTS]:
        yield "", "outputs", f"there is no output '{unknown[0]}'", f"use {', '.join(OUTPUTS)}"
    if len(set(preset.outputs)) != len(preset.outputs):
        yield "", "outputs", "an output is named twice", "name each once"
    if preset.default_form not in FORMS:
        yield "", "default_form", f"there is no form '{preset.default_form}'", f"use {' or '.join(FORMS)}"
    if preset.labels is not None and preset.num_classes not in (None, len(preset.labels)):
        problem = f"there are {len(preset.labels)} labels for {preset.num_classes} classes"
        yield "", "labels", problem, "give one for each class"
    if preset.checkpoint is not None and not preset.checkpoint.is_file():
        yield "", "checkpoint", f"there is no file '{preset.checkpoint}'", "name it from the preset's own folder"


def _pictures(preset: Preset) -> Iterator[Contradiction]:
    pictures = preset.pictures
    if len(pictures.mean) != len(pictures.scale):
        problem = f"{len(pictures.mean)} means and {len(pictures.scale)} scales do not go together"
        yield "pictures", "scale", problem, "give one of each for each channel"
    if min(pictures.scale) <= 0:
        yield "pictures", "scale", "a picture cannot be divided by 0 or less", "give numbers above 0"
    if max(*pictures.mean, *pictures.scale) <= 1:
        yield "pictures", "mean", "mean and scale are for pixels in 0..255", "multiply them by 255"
    if pictures.resize < max(preset.image_size):
        problem = f"a picture of {pictures.resize} has no crop of {preset.image_size[0]}×{preset.image_size[1]}"
        yield "pictures", "resize", problem, f"resize to {max(preset.image_size)} at least"
    if preset.image_size[0] != preset.image_size[1] and pictures.resize != max(preset.image_size):
        problem = "a resize of one number wants a square picture"
        yield "pictures", "resize", problem, "give a square image_size"
    for key, value, known in (
        ("crop_mode", pictures.crop_mode, CROP_MODES),
        ("interpolation", pictures.interpolation, INTERPOLATIONS),
    ):
        if value not in known:
            yield "pictures", key, f"there is no {key} '{value}'", f"use {', '.join(known)}"


def _names(preset: Preset) -> Iterator[Contradiction]:
    given = [name for kind in preset.outputs for name in default_names(kind)]
    for key in preset.names:
        known = key == "input" or key in given or ("features" in preset.outputs and key.startswith("features_"))
        if not known:
            yield "names", key, f"the preset gives no '{key}'", f"use input, {', '.join(given)}"
    names = list(preset.names.values())
    for key, name in preset.names.items():
        if names.count(name) > 1:
            yield "names", key, f"two tensors are named '{name}'", "give each a name of its own"


def _claims(preset: Preset) -> Iterator[Contradiction]:
    claimed = preset.claimed
    if claimed is None:
        return
    for key, value in (("top1", claimed.top1), ("top5", claimed.top5)):
        if value is not None and not 0 <= value <= 100:
            yield "claimed", key, f"{value:g} is no share in per cent", "give a number from 0 to 100"
    if claimed.top5 is not None and claimed.top5 < claimed.top1:
        yield "claimed", "top5", f"top-5 of {claimed.top5:g} is below top-1 of {claimed.top1:g}", "swap them"


def default_names(kind: str) -> tuple[str, ...]:
    """Return the names that an export gives to an output of this kind, but for feature maps."""
    if kind == "topk":
        return "topk_values", "topk_indices"
    return () if kind == "features" else (kind.replace("-", "_"),)

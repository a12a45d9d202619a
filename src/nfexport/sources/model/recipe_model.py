"""Load the model of a recipe again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.errors import RecipeError, WeightsUnreachable
from nfexport.recipe.interface import network_preprocessing
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.source_kinds import load
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    from nfexport.recipe.recipe import Recipe


def load_from_recipe(recipe: Recipe, *, checkpoint: Path | None = None) -> LoadedModel:
    """Load the model of a recipe again, by the source that its name belongs to; compare its weights with the digest.

    checkpoint supplies weights that came from a file, or that cannot be fetched. The preprocessing is the recipe's,
    which may differ from the source's.
    Raises WeightsUnreachable if the weights are missing, RecipeError if they are others, and what load does."""
    if recipe.weights.kind == "checkpoint" and checkpoint is None:
        raise WeightsUnreachable(
            f"the file was exported from a checkpoint of {recipe.architecture}, which is not here",
            fix="pass it with --checkpoint FILE",
        )
    spec = ModelSpec(
        name=recipe.model_name if checkpoint is None else recipe.architecture,
        checkpoint=checkpoint,
        ema=recipe.source.ema,
        seed=recipe.weights.seed,
        num_classes=recipe.num_classes,
        in_chans=recipe.source.in_chans,
        model_kwargs=recipe.source.model_kwargs,
        image_size=recipe.image_size,
        is_size_known=True,
    )
    try:
        loaded = load(spec)
    except WeightsUnreachable as error:
        raise WeightsUnreachable(error.problem, fix="pass them with --checkpoint FILE") from error
    if loaded.weights.digest != recipe.weights.digest:
        raise RecipeError(
            f"the weights found for {recipe.model_name} are not those of the recipe (sha256 "
            f"{loaded.weights.digest[:12]}… instead of {recipe.weights.digest[:12]}…)",
            fix=_fix_of_weights(recipe, checkpoint),
        )
    return dataclasses.replace(loaded, preprocessing=network_preprocessing(recipe))


def _fix_of_weights(recipe: Recipe, checkpoint: Path | None) -> str:
    if recipe.weights.kind != "seeded":
        return "pass the checkpoint that the file was exported from with --checkpoint FILE"
    if checkpoint is not None:
        return "leave --checkpoint out, as the file holds seeded weights"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(recipe.versions.items()))
    return f"install the versions that seeded them ({versions}), or export the model again"

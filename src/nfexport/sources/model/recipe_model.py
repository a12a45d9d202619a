"""Load the model of a recipe again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from nfexport.errors import RecipeError, WeightsUnreachable
from nfexport.recipe.interface import network_preprocessing
from nfexport.recipe.tensor_spec import parse_inputs
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.source_kinds import load, user_named
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    from nfexport.recipe.recipe import Recipe


def load_from_recipe(recipe: Recipe, *, checkpoint: Path | None = None, model: object = None) -> LoadedModel:
    """Load the model of a recipe again, by the source that its name belongs to; compare its weights with the digest.

    checkpoint supplies weights that came from a file, or that cannot be fetched. model is the user's own module, its
    factory or its file, for a recipe that names one: nothing is run because a recipe names it. The preprocessing is
    the recipe's, which may differ from the source's. Raises WeightsUnreachable if the weights are missing,
    RecipeError if they are others, and what load does."""
    if recipe.weights.kind == "checkpoint" and checkpoint is None:
        raise WeightsUnreachable(
            f"the file was exported from a checkpoint of {recipe.architecture}, which is not here",
            fix="pass it with --checkpoint FILE",
        )
    own = recipe.provenance is not UNSET and recipe.provenance.source in user_named()
    if own and model is None:
        raise RecipeError(
            f"the file was exported from '{recipe.source.model}', which nfexport does not run by itself",
            fix=f"name it, if you trust it: --model {recipe.source.model}, or model=… in Python",
        )
    if model is not None and not own:
        raise RecipeError(f"the file was exported from {recipe.model_name}", fix="leave --model out")
    named = model if isinstance(model, str) else recipe.source.model if own else None
    spec = ModelSpec(
        name=named or (recipe.model_name if checkpoint is None else recipe.architecture),
        instance=None if isinstance(model, str) else model,
        named_by_user=model is not None,
        checkpoint=checkpoint,
        ema=recipe.source.ema,
        seed=recipe.weights.seed,
        output_names=recipe.options.output_names,
        num_classes=recipe.num_classes,
        in_chans=recipe.source.in_chans,
        model_kwargs=recipe.source.model_kwargs,
        inputs=parse_inputs(recipe.source.inputs),
        image_size=recipe.stored_image_size,
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
    return loaded if recipe.tensors else dataclasses.replace(loaded, preprocessing=network_preprocessing(recipe))


def _fix_of_weights(recipe: Recipe, checkpoint: Path | None) -> str:
    if recipe.weights.kind == "module":
        return "name the module that the file was exported from, or export it again"
    if recipe.weights.kind != "seeded":
        return "pass the checkpoint that the file was exported from with --checkpoint FILE"
    if checkpoint is not None:
        return "leave --checkpoint out, as the file holds seeded weights"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(recipe.versions.items()))
    return f"install the versions that seeded them ({versions}), or export the model again"

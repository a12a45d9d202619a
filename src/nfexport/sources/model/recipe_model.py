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
from nfexport.sources.model.missing_weights import missing_weights
from nfexport.sources.model.source_kinds import load, user_named
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    from nfexport.recipe.recipe import Recipe

REPOSITORIES = ("hub_repositories", "local_folders")
"""The sources whose models are architectures of timm, described by a config.json."""


def load_from_recipe(recipe: Recipe, *, checkpoint: Path | None = None, model: object = None) -> LoadedModel:
    """Load the model of a recipe again, by the source that its name belongs to; compare its weights with the digest.

    checkpoint supplies weights that came from a file, or that cannot be fetched. model is the user's own module, its
    factory or its file, for a recipe that names one: nothing is run because a recipe names it. The preprocessing is
    the recipe's, which may differ from the source's. Raises WeightsUnreachable if the weights are missing,
    RecipeError if they are others, and what load does."""
    if recipe.weights.kind == "checkpoint" and checkpoint is None:
        raise missing_weights(recipe.source.model)
    own = recipe.provenance is not UNSET and recipe.provenance.source in user_named()
    if own and model is None:
        raise RecipeError(
            f"the file was exported from '{recipe.source.model}', which nfexport does not run by itself",
            fix=f"name it, if you trust it: --model {recipe.source.model}, or model=… in Python",
        )
    if model is not None and not own:
        raise RecipeError(f"the file was exported from {recipe.model_name}", fix="leave --model out")
    spec = ModelSpec(
        name=model if isinstance(model, str) else _name(recipe, checkpoint),
        instance=None if isinstance(model, str) else model,
        named_by_user=model is not None,
        checkpoint=checkpoint,
        # averaged weights are taken by default, and the digest tells whether they are the recipe's
        ema=recipe.source.ema and None,
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
        fix = "pass them with --checkpoint FILE"
        if recipe.weights.kind == "hub":
            fix = "set HF_HOME to a cache that holds it, or pass a copy of the repository with --checkpoint DIR"
        raise WeightsUnreachable(error.problem, fix=fix) from error
    if loaded.weights.digest != recipe.weights.digest:
        raise RecipeError(
            f"the weights found for {recipe.model_name} are not those of the recipe (sha256 "
            f"{loaded.weights.digest[:12]}… instead of {recipe.weights.digest[:12]}…)",
            fix=_fix_of_weights(recipe, checkpoint),
        )
    if recipe.tensors:
        return loaded
    return dataclasses.replace(
        loaded, preprocessing=network_preprocessing(recipe), own_preprocessing=loaded.preprocessing
    )


def _name(recipe: Recipe, checkpoint: Path | None) -> str:
    """Return the name that the source knows the model by."""
    if recipe.provenance is UNSET:
        return recipe.model_name if checkpoint is None else recipe.architecture
    if recipe.provenance.source in REPOSITORIES and checkpoint is not None and checkpoint.is_file():
        return recipe.architecture  # the recipe holds what the repository says of it
    return recipe.source.model


def _fix_of_weights(recipe: Recipe, checkpoint: Path | None) -> str:
    if recipe.weights.kind == "module":
        return "name the module that the file was exported from, or export it again"
    if recipe.weights.kind != "seeded":
        return "pass the checkpoint that the file was exported from with --checkpoint FILE"
    if checkpoint is not None:
        return "leave --checkpoint out, as the file holds seeded weights"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(recipe.versions.items()))
    return f"install the versions that seeded them ({versions}), or export the model again"

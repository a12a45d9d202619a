"""timm's models by name: 'nfnet_f0', with seeded weights or those of a checkpoint; 'nfnet_l0.ra2_in1k', trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    from nfexport.recipe.recipe import Recipe


def matches(model: object) -> bool:
    """Say whether it may be a name of timm's: text without a colon or a slash, known to timm or not."""
    return isinstance(model, str) and not {":", "/", "\\"} & set(model)


def load(spec: ModelSpec) -> LoadedModel:
    """Build timm's model of that name, with its weights.

    Raises UnknownModelError, RecipeError, CheckpointError, WeightsUnreachable or MissingPackage."""
    from nfexport.sources.timm import construction

    return construction.load(spec)


def load_from_recipe(recipe: Recipe, *, checkpoint: Path | None = None) -> LoadedModel:
    """Rebuild the timm model of a recipe; its weights are compared with the recipe's digest.

    checkpoint supplies weights that came from a file, or that cannot be fetched.
    Raises WeightsUnreachable if they are missing, RecipeError if they are others."""
    from nfexport.sources.timm import construction

    return construction.load_from_recipe(recipe, checkpoint=checkpoint)

"""timm's models by name: 'nfnet_f0', with seeded weights or those of a checkpoint; 'nfnet_l0.ra2_in1k', trained."""

from __future__ import annotations

from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec


def matches(model: object) -> bool:
    """Say whether it can be a name of timm's: text without a colon, slash or backslash."""
    return isinstance(model, str) and not {":", "/", "\\"} & set(model)


def load(spec: ModelSpec) -> LoadedModel:
    """Build timm's model of that name, with its weights.

    Raises UnknownModelError, RecipeError, CheckpointError, WeightsUnreachable or MissingPackage."""
    if spec.checkpoint is not None:
        from nfexport.sources.timm import from_checkpoint

        return from_checkpoint.load(spec)
    from nfexport.sources.timm import construction

    return construction.load(spec)

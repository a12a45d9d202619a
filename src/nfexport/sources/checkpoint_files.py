"""Checkpoints that say what they are: 'model_best.pth.tar' of timm's train.py, 'last.ckpt' of Lightning, and files of
safetensors with a header."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nfexport.errors import RecipeError
from nfexport.sources.model.checkpoint_names import is_checkpoint
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec


def matches(model: object) -> bool:
    """Say whether it is the path of a checkpoint, by its suffix."""
    return isinstance(model, str) and is_checkpoint(model)


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model of the checkpoint, with its weights.

    Raises CheckpointError if it cannot be read or does not say its architecture, RecipeError or UnknownModelError."""
    if spec.checkpoint is not None or spec.pretrained:
        option = "--pretrained" if spec.pretrained else "--checkpoint"
        raise RecipeError(f"'{spec.name}' is a checkpoint, and has weights itself", fix=f"leave {option} out")
    from nfexport.sources.timm import from_checkpoint

    return from_checkpoint.load_alone(dataclasses.replace(spec, checkpoint=Path(spec.name).expanduser()))

"""What a user knows better than the source of a model: its preprocessing, and the names of its classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from nfexport.errors import RecipeError
from nfexport.recipe.export_options import ExportOptions
from nfexport.recipe.recipe import Preprocessing
from nfexport.recipe.statistics import statistics
from nfexport.sources.model.loaded_model import LoadedModel

_SAID = ("mean", "std", "crop_pct", "crop_mode", "interpolation")


def corrected(loaded: LoadedModel, options: ExportOptions) -> LoadedModel:
    """Return the model with the preprocessing and the labels that the options ask for.

    Where a source reports what it read, a note tells what the options replace.
    Raises RecipeError if no image can be prepared in this way, or if labels and classes differ in number."""
    preprocessing = own_preprocessing(loaded, options)
    notes = loaded.notes
    if notes:
        for name in _SAID:
            said, used = getattr(loaded.preprocessing, name), getattr(preprocessing, name)
            if said != used:
                notes += (f"--{name.replace('_', '-')} {_shown(used)} replaces the model's own {_shown(said)}",)
    loaded = dataclasses.replace(loaded, preprocessing=preprocessing, notes=notes)
    if options.labels is None:
        return loaded
    if len(options.labels) != loaded.num_classes:
        raise RecipeError(
            f"there are {len(options.labels)} labels for the {loaded.num_classes} classes of {loaded.model_name}",
            fix="pass one label for each class",
        )
    return dataclasses.replace(loaded, labels=options.labels)


def own_preprocessing(loaded: LoadedModel, options: ExportOptions) -> Preprocessing:
    """Return the preprocessing of a model; options override the source's.

    Raises RecipeError if no image can be prepared in this way."""
    from nfexport.sources.timm.image_sizes import checked

    own: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("crop_pct", "crop_mode", "interpolation")
        if getattr(options, name) is not None
    }
    if (options.mean is None) != (options.std is None):
        raise RecipeError("--mean and --std belong together", fix="pass both, or neither for the model's own")
    if options.mean is not None and options.std is not None:
        found = statistics(options.mean, options.std, channels=loaded.in_channels)
        own |= {"mean": found.mean, "std": found.std}
    return checked(replace(loaded.preprocessing, **own), loaded.in_channels)


def _shown(value: Any) -> str:
    return (
        "/".join(f"{part:.4g}" for part in value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )

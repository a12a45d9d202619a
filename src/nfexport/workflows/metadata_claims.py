"""Where what a recipe says of preprocessing, labels and sizes is not what the weights' own configuration says.

No number of an output depends on the labels, or on the preprocessing that is left to the caller; a wrong mean only
makes every prediction a little worse. What the user gave at the export is among the recipe's options, so

    recipe = front passes(options(own configuration))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from msgspec.structs import asdict, replace

from nfexport.recipe.interface import callers_part, steps_in_front
from nfexport.recipe.recipe import Preprocessing, Recipe
from nfexport.recipe.statistics import statistics
from nfexport.sources.model.source_kinds import kind_of
from nfexport.workflows.corrections import corrected

if TYPE_CHECKING:
    from nfexport.sources import LoadedModel

TIMM = "timm_names"
"""The source of what timm's registry has; others may use a name of their own without provenance."""

MOST_SHOWN = 120


def metadata_disagreements(recipe: Recipe, loaded: LoadedModel, *, checkpoint: object = None) -> tuple[str, ...]:
    """Return where a recipe contradicts its own options and the configuration of the model that it names.

    loaded is the model of the recipe, as load_from_recipe returns it. Where a checkpoint stands in for the source
    that the recipe names, its configuration is not at hand, and only sizes are compared. Raises RecipeError for
    options that no export accepts."""
    found = list(_sizes(recipe))
    if recipe.tensors or loaded.own_preprocessing is None:
        return tuple(found)
    if checkpoint is not None and recipe.source.model != recipe.architecture:
        return tuple(found)
    own = corrected(dataclasses.replace(loaded, preprocessing=loaded.own_preprocessing), recipe.options)
    told, expected = asdict(recipe.preprocessing), asdict(_left_to_caller(recipe, own.preprocessing))
    differing = [name for name in told if told[name] != expected[name]]
    found += [_sentence(f"preprocessing, {name}", told[name], expected[name]) for name in differing]
    if recipe.labels != own.labels:
        found.append(_sentence("labels", recipe.labels, own.labels))
    return tuple(found)


def _left_to_caller(recipe: Recipe, network: Preprocessing) -> Preprocessing:
    """Return what is left to the caller of a network's preprocessing after the passes and operations of a recipe."""
    left = callers_part(network, steps_in_front(recipe.passes))
    for operation in recipe.operations:
        mean, std = operation.options.get("mean"), operation.options.get("std")
        if mean is not None and std is not None:  # what the user of a surgery knows of the network
            given = statistics(mean, std)
            left = replace(left, dtype="float32", layout="nchw", mean=given.mean, std=given.std)
        left = callers_part(left, steps_in_front(operation.steps))
    return left


def _sizes(recipe: Recipe) -> Iterator[str]:
    """Yield where classes, channels or image size are not those that the source asks for, or timm's own."""
    source, asked = recipe.source, recipe.source.image_size
    classes, channels = source.num_classes, source.in_chans
    of_timm = recipe.provenance is UNSET and kind_of(recipe.source.model) == TIMM
    if of_timm and recipe.weights.kind in ("seeded", "pretrained") and not source.model_kwargs:
        from nfexport.sources.timm.names import resolve_name

        own = resolve_name(recipe.model_name, pretrained=False)
        classes = own.num_classes if classes is None else classes
        channels = own.in_chans if channels is None else channels
    if classes is not None and recipe.num_classes != classes:
        yield _sentence("number of classes", recipe.num_classes, classes)
    if channels is not None and recipe.stored_in_channels not in (None, channels):
        yield _sentence("number of channels", recipe.stored_in_channels, channels)
    if isinstance(asked, int | tuple) and recipe.stored_image_size is not None:
        size = (asked, asked) if isinstance(asked, int) else tuple(asked)
        if recipe.stored_image_size != size:
            yield _sentence("image size", recipe.stored_image_size, size)


def _sentence(what: str, told: Any, expected: Any) -> str:
    return (
        f"{what}: the recipe says {_short(told)}, its options and the model's configuration give {_short(expected)}"
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"

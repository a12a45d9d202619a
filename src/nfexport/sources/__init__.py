"""Where a model comes from: from what a user names, or hands over, to a torch module with its weights.

To add a kind of source, add a file: sources/NAME.py with the three functions of `Source`. Another package adds one
with an entry point of the group `nfexport.sources`, which names a module, or an object, with the same functions. What
kinds of source share is in the folders below: `model/` for any torch module, `timm/` for timm's.

Importing this package, or a source, costs nothing: torch and timm are imported when a model is loaded.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nfexport import extensions
from nfexport.errors import InputError, UnknownModelError
from nfexport.recipe.interface import network_preprocessing
from nfexport.sources.model.loaded_model import InputSpec, LoadedModel
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    from nfexport.recipe.recipe import Recipe

__all__ = ["Source", "ModelSpec", "InputSpec", "LoadedModel", "load", "load_from_recipe", "resolve", "names", "get"]

GROUP: extensions.Group = "nfexport.sources"


class Source(Protocol):
    """A kind of source. A module with these functions is one."""

    def matches(self, model: object, /) -> bool:
        """Say whether this source is the one for a model that a user named (a str) or handed over (any object).

        Cheap, and without a look at the disk or the network: what a name stands for is found out by load."""

    def load(self, spec: ModelSpec, /) -> LoadedModel:
        """Build the model with its weights.

        Raises UnknownModelError, RecipeError, CheckpointError, WeightsUnreachable or MissingPackage."""

    def load_from_recipe(self, recipe: Recipe, /, *, checkpoint: Path | None = None) -> LoadedModel:
        """Build the model of a recipe, whose weights have the recipe's digest; checkpoint supplies weights that came
        from a file, or that cannot be fetched.

        Raises WeightsUnreachable if they are missing, RecipeError if they are others."""


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model that the spec names, or holds, with its weights, by the source that understands it.

    Raises UnknownModelError, RecipeError, CheckpointError, WeightsUnreachable or MissingPackage."""
    return resolve(spec.model).load(spec)


def load_from_recipe(recipe: Recipe, *, checkpoint: Path | None = None) -> LoadedModel:
    """Rebuild the model of a recipe; its weights are compared with the recipe's digest.

    The name in the recipe tells the source. checkpoint supplies weights that came from a file, or that cannot be
    fetched. The preprocessing is the recipe's own, which an export may have set other than the source's.
    Raises WeightsUnreachable if they are missing, RecipeError if they are others."""
    loaded = resolve(recipe.model_name).load_from_recipe(recipe, checkpoint=checkpoint)
    return dataclasses.replace(loaded, preprocessing=network_preprocessing(recipe))


def resolve(model: object) -> Source:
    """Return the source that understands a name, or an object.

    nfexport's own sources are asked first. A name 'KIND:…' then goes to the source that another package installed as
    KIND; of other names and objects the installed sources are asked in alphabetical order.
    Raises UnknownModelError if no source understands it, InputError if another package's cannot be imported."""
    for name in built_in():
        if (source := get(name)).matches(model):
            return source
    installed = [name for name in extensions.installed(GROUP) if name not in built_in()]
    kind = model.partition(":")[0] if isinstance(model, str) and ":" in model else None
    for name in [kind] if kind in installed else installed:
        if (source := get(name)).matches(model):
            return source
    if not isinstance(model, str):
        raise UnknownModelError(
            f"there is no source for a {type(model).__name__}", fix="pass the name of a timm architecture"
        )
    own = f", or {' or '.join(f'{name}:…' for name in installed)}" if installed else ""
    raise UnknownModelError(
        f"'{model}' is not a timm name",
        fix=f"pass an architecture ('nfnet_l0') or architecture.tag ('nfnet_l0.ra2_in1k'){own}; "
        "weights in a file go with --checkpoint",
    )


def built_in() -> tuple[str, ...]:
    """Return the names of the sources that come with nfexport, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def names() -> tuple[str, ...]:
    """Return the names of all sources, sorted."""
    return tuple(sorted({*built_in(), *extensions.installed(GROUP)}))


def get(name: str) -> Source:
    """Return the source of that name; of two, nfexport's own.

    Raises InputError if there is none, if another package's cannot be imported, or if it lacks a function."""
    if name in built_in():
        built: Source = importlib.import_module(f"{__name__}.{name}")
        return built
    if name not in extensions.installed(GROUP):
        raise InputError(f"there is no source '{name}'", fix=f"use one of {', '.join(names())}")
    source: Source = extensions.load(GROUP, name)
    if missing := [
        part for part in ("matches", "load", "load_from_recipe") if not callable(getattr(source, part, 0))
    ]:
        raise InputError(
            f"the source '{name}' of another package has no function '{missing[0]}'",
            fix="see nfexport.sources.Source for what a source has",
        )
    return source

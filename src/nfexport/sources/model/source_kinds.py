"""Find the source that understands a model: nfexport's own by their files, other packages' by their entry points."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Protocol

from nfexport import extensions
from nfexport.errors import CheckpointError, InputError, RecipeError, UnknownModelError
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec

GROUP: extensions.Group = "nfexport.sources"


class SourceKind(Protocol):
    """A kind of source; a module with these functions is one.

    With RUNS_CODE = True in it, a model is loaded only if the user names it, not if a recipe does. A function
    name_of(model) gives the name that a recipe keeps of an object that is handed over; by default that of its
    class."""

    def matches(self, model: object, /) -> bool:
        """Say whether this is the source for a model that a user names (a str) or hands over (any other object).

        It looks at the object alone, not at the disk or the network, and imports neither torch nor timm: whether a
        name stands for something is found out by load."""

    def load(self, spec: ModelSpec, /) -> LoadedModel:
        """Build the model with its weights, in evaluation mode and float32.

        A recipe loads its model again by a spec whose name is architecture, and tag, of the LoadedModel.
        Raises UnknownModelError, RecipeError, CheckpointError, WeightsUnreachable or MissingPackage."""


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model that the spec names, or holds, with its weights, by the source that understands it.

    Raises UnknownModelError, RecipeError, CheckpointError, WeightsUnreachable or MissingPackage."""
    if spec.checkpoint is not None and spec.pretrained:
        raise RecipeError("--checkpoint and --pretrained both name weights", fix="pass one of them")
    if spec.num_classes is not None and spec.num_classes < 0:
        raise RecipeError(
            f"the number of classes cannot be {spec.num_classes}", fix="pass --num-classes with 0 or more"
        )
    if spec.checkpoint is not None and not spec.checkpoint.exists():
        raise CheckpointError(f"there is no file '{spec.checkpoint}'", fix="check the path given to --checkpoint")
    source = resolve(spec.model)
    if getattr(source, "RUNS_CODE", False) and spec.instance is None and not spec.named_by_user:
        raise RecipeError(
            f"the recipe names '{spec.name}', code or a file that nfexport does not load by itself",
            fix=f"name it, if you trust it: --model {spec.name}, or model=… in Python",
        )
    return source.load(spec)


def resolve(model: object) -> SourceKind:
    """Return the source that understands a name, or an object.

    A name 'KIND:…' belongs to the source that another package installs as KIND, if there is one. About any other name
    nfexport's own sources are asked first, then the installed ones in alphabetical order; about an object the others
    first.
    Raises UnknownModelError if no source understands it, InputError as find does."""
    return find(kind_of(model))


def kind_of(model: object) -> str:
    """Return the name of the source that understands a name, or an object; see resolve."""
    installed = [name for name in extensions.installed(GROUP) if name not in built_in()]
    kind = model.partition(":")[0] if isinstance(model, str) and ":" in model else None
    asked = [kind] if kind in installed else [*built_in(), *installed]
    # a torch module may be of a class that another package knows more of
    for name in asked if isinstance(model, str) else [*installed, *built_in()]:
        if find(name).matches(model):
            return name
    if not isinstance(model, str):
        raise UnknownModelError(f"no source takes a {type(model).__name__}", fix="pass the name of an architecture")
    others = "".join(f", or '{name}:…' for the source {name}" for name in installed)
    raise UnknownModelError(
        f"'{model}' is not a timm name",
        fix=f"pass an architecture ('nfnet_l0'), architecture.tag ('nfnet_l0.ra2_in1k'), or a factory of your own "
        f"('package.module:factory', 'FILE.py:factory'){others}; weights in a file go with --checkpoint",
    )


@functools.cache
def built_in() -> tuple[str, ...]:
    """Return the names of the sources that come with nfexport, sorted."""
    folder = Path(__file__).parents[1]
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))


@functools.cache
def user_named() -> frozenset[str]:
    """Return the sources whose models a recipe does not load: they run code, or read a file of the user's."""
    return frozenset(name for name in built_in() if getattr(find(name), "RUNS_CODE", False))


def names() -> tuple[str, ...]:
    """Return the names of all sources, sorted."""
    return tuple(sorted({*built_in(), *extensions.installed(GROUP)}))


def find(name: str) -> SourceKind:
    """Return the source of that name, nfexport's own if there are two.

    Raises InputError if there is none, if another package's cannot be imported, or if it lacks a function."""
    if name in built_in():
        own: SourceKind = importlib.import_module(f"nfexport.sources.{name}")
        return own
    if name not in extensions.installed(GROUP):
        raise InputError(f"there is no source '{name}'", fix=f"use one of {', '.join(names())}")
    source: SourceKind = extensions.load(GROUP, name)
    for function in ("matches", "load"):
        if not callable(getattr(source, function, None)):
            raise InputError(
                f"the entry point '{name}' of the group {GROUP} names a source without a function '{function}'",
                fix="let it name a module with the functions of nfexport.sources.SourceKind",
            )
    return source

"""A function, or a class, that makes a torch module: 'package.module:factory', or 'FILE.py:factory'.

It is imported and called because the user names it; a recipe that names one never has it called.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nfexport.errors import InputError, RecipeError, UnknownModelError, did_you_mean
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS_CODE = True
"""A recipe that names a model of this kind does not load it: the user has to name it again."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OF_FILE = re.compile(r".+\.py:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def matches(model: object) -> bool:
    """Say whether it names a factory: a dotted module or a Python file, a colon, and a name in it."""
    return isinstance(model, str) and bool(_DOTTED.fullmatch(model) or _OF_FILE.fullmatch(model))


def recorded_name(name: str) -> str:
    """Return the name that a recipe keeps: without the folders of a file."""
    place, _, attribute = name.rpartition(":")
    file = re.split(r"[/\\]", place)[-1]
    return f"{file}:{attribute}" if place.endswith(".py") else name


def load(spec: ModelSpec) -> LoadedModel:
    """Call the factory and return its module, with what was found out about it.

    The global random state of torch is fixed while the factory runs, so that random initial weights are the same each
    time. Raises UnknownModelError if the factory does not exist, RecipeError if it fails, returns no module or one
    that cannot be exported, and CheckpointError."""
    import dataclasses

    import torch

    from nfexport.sources.model import user_module
    from nfexport.sources.model.code_origin import code_origin
    from nfexport.sources.model.standard_random import fixed_random_state

    factory = _find(spec.name)
    with fixed_random_state():
        module = _call(factory, spec.name, dict(spec.model_kwargs))
    if not isinstance(module, torch.nn.Module):
        raise RecipeError(
            f"'{spec.name}' returns {_article(module)}, not a torch module",
            fix="name a function or class that returns a torch.nn.Module",
        )
    name = recorded_name(spec.name)
    provenance = code_origin(factory, source="factories", name=name)
    loaded = user_module.describe(module.eval(), spec, provenance, name=name.rpartition(":")[2])
    return dataclasses.replace(loaded, resolved={"model": name})


def _article(value: object) -> str:
    return "None" if value is None else f"an object of the type '{type(value).__name__}'"


def _find(name: str) -> Callable[..., Any]:
    from nfexport.extensions import import_file, import_module

    place, _, attribute = name.rpartition(":")
    try:
        found = import_file(place, "factory") if place.endswith(".py") else import_module(place)
    except InputError as error:
        raise UnknownModelError(error.problem, fix=error.fix) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [known for known in vars(found) if not known.startswith("_")])
            raise UnknownModelError(
                f"'{place}' has no '{attribute}'", fix=near or "name a function or class that it defines"
            )
        found = getattr(found, part)
    if not callable(found):
        raise UnknownModelError(
            f"'{name}' is not a function or class, but of the type '{type(found).__name__}'",
            fix="name one that returns a module",
        )
    return found


def _call(factory: Callable[..., Any], name: str, arguments: dict[str, Any]) -> object:
    import inspect

    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise RecipeError(
            f"'{name}' cannot be called with the arguments {', '.join(arguments) or 'none'} ({error})",
            fix="pass its arguments with --model-kwargs KEY=VALUE",
        ) from error
    except ValueError:  # a function of C tells nothing of its arguments
        pass
    try:
        return factory(**arguments)
    except Exception as error:  # a user's own code may raise anything
        lines = str(error).strip().splitlines() or ["no message"]
        raise RecipeError(
            f"'{name}' raises {type(error).__name__}: {lines[0].rstrip('.')[:300]}",
            fix="call it in Python to see where, and pass its arguments with --model-kwargs KEY=VALUE",
        ) from error

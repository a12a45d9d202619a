"""Read the recipe inside a file, the parameters of its passes and the values of its options included."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

from nfexport import extensions
from nfexport.errors import RecipeError
from nfexport.passes import keywords, registry
from nfexport.recipe import metadata as entries
from nfexport.recipe.export_options import SurgeryOptions
from nfexport.recipe.option import Command, Option
from nfexport.recipe.quantize_step import QUANTIZE, QuantizeOptions, QuantizeParameters
from nfexport.recipe.recipe import PassStep, Recipe
from nfexport.recipe.validation import convert


def read_recipe(metadata: Mapping[str, str]) -> Recipe | None:
    """Return the recipe in a file's metadata, or None if there is none.

    Raises RecipeError, in one sentence, if it cannot be read, was changed after it was written, or holds a value that
    no export writes."""
    return _read(tuple((key, metadata[key]) for key in (entries.RECIPE_KEY, entries.DIGEST_KEY) if key in metadata))


@functools.lru_cache(maxsize=4)
def _read(metadata: tuple[tuple[str, str], ...]) -> Recipe | None:
    """Read a recipe once: a command asks for that of its file several times."""
    recipe = entries.unchecked_recipe(dict(metadata))
    if recipe is not None:
        check(recipe)
    return recipe


def check(recipe: Recipe) -> None:
    """Raise RecipeError if a step or an option of a recipe has a parameter that its pass does not take."""
    check_steps(recipe.steps)
    check_options("export", recipe.options.passes, recipe.passes)
    channels = None if recipe.tensors else len(recipe.preprocessing.mean)
    for step in recipe.steps:
        if step.name == "normalize" and not channels == len(step.params["mean"]) == len(step.params["std"]):
            raise RecipeError(f"the recipe normalises other than {channels} channels", fix="export the model again")
    for operation in recipe.operations:
        if operation.command == "quantize":
            convert(dict(operation.options), QuantizeOptions, "the recipe's quantisation")
            continue
        values = dict(operation.options)
        own = {name: values.pop(name) for name in SurgeryOptions.__struct_fields__ if name in values}
        convert(own, SurgeryOptions, "the recipe's surgery")
        check_options("surgery", values, operation.steps)


def check_steps(steps: Collection[PassStep]) -> None:
    """Raise RecipeError if a step has parameters that its pass does not take.

    nfexport's own steps hold every parameter, but for those that were added later. A pass of another package that is
    not installed cannot be checked; its recorded origin is trusted."""
    for step in steps:
        if step.name == QUANTIZE:
            convert(dict(step.params), QuantizeParameters, "the recipe's quantisation")
        elif step.name in registry.built_in():
            cls = registry.get(step.name)
            missing = cls.checked_params(step.params).keys() - step.params.keys() - set(cls.later)
            if missing:
                raise RecipeError(
                    f"the recipe's pass '{step.name}' lacks the parameter '{min(missing)}'",
                    fix="export the model again",
                )
        elif step.name in extensions.installed(registry.GROUP):
            registry.get(step.name).checked_params(step.params)
        elif step.origin is None:
            raise RecipeError(f"the recipe names a graph pass '{step.name}', which does not exist", fix=_FIX)


def check_options(command: Command, values: Mapping[str, Any], steps: Collection[PassStep]) -> None:
    """Raise RecipeError for an option that no pass declares, or a value that it does not take.

    steps are those that came of them: their passes are asked first, as importing all of them takes a while. An option
    may be that of a pass that is not installed, if the steps have one."""
    offered = _options_of([step.name for step in steps], command)
    foreign = any(step.origin is not None for step in steps)
    for keyword, value in values.items():
        if keyword not in offered:
            offered = keywords.options(command)
        if keyword in offered:
            keywords.validated(offered[keyword], value)
        elif not foreign:
            raise RecipeError(f"the recipe has an option '{keyword[:60]}' that no pass declares", fix=_FIX)


_FIX = "install the package that adds it, or export the model again"


def _options_of(names: Collection[str], command: Command) -> dict[str, Option]:
    known = [registry.get(name) for name in dict.fromkeys(names) if name in registry.built_in()]
    return {option.keyword: option for cls in known for option in cls.options if command in option.commands}

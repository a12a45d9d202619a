"""Read the recipe inside a file, the parameters of its passes and the values of its options included."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nfexport import extensions
from nfexport.errors import RecipeError
from nfexport.passes import keywords, registry
from nfexport.recipe import metadata as entries
from nfexport.recipe.option import Command, Option
from nfexport.recipe.quantize_step import QUANTIZE, QuantizeParameters
from nfexport.recipe.recipe import PassStep, Recipe
from nfexport.recipe.validation import convert


def read_recipe(metadata: Mapping[str, str]) -> Recipe | None:
    """Return the recipe in a file's metadata, or None if there is none.

    Raises RecipeError, in one sentence, if it cannot be read, was changed after it was written, or holds a value that
    no export writes."""
    recipe = entries.unchecked_recipe(metadata)
    if recipe is not None:
        check(recipe)
    return recipe


def check(recipe: Recipe) -> None:
    """Raise RecipeError if a step or an option of a recipe has a parameter that its pass does not take."""
    check_steps(recipe.passes)
    names = [step.name for step in recipe.passes]
    check_options("export", recipe.options.passes, names)
    for operation in recipe.operations:
        check_steps(operation.steps)
        if operation.command == "surgery":
            own = {"optimize", "extra_passes", "mean", "std"}
            values = {key: value for key, value in operation.options.items() if key not in own}
            check_options("surgery", values, [step.name for step in operation.steps])


def check_steps(steps: Collection[PassStep]) -> None:
    """Raise RecipeError if a step has parameters that its pass does not take.

    A pass of another package that is not installed cannot be asked, and is told by its origin."""
    for step in steps:
        if step.name == QUANTIZE:
            convert(dict(step.params), QuantizeParameters, "the recipe's quantisation")
        elif step.name in registry.built_in() or step.name in extensions.installed(registry.GROUP):
            registry.get(step.name).checked_params(step.params)
        elif step.origin is None:
            raise RecipeError(f"the recipe names a graph pass '{step.name}', which does not exist", fix=_FIX)


def check_options(command: Command, values: Mapping[str, Any], likely: Collection[str]) -> None:
    """Raise RecipeError for an option that no pass declares, or a value that it does not take; likely names the
    passes that are asked first, as importing all of them takes a while."""
    offered = _options_of(likely, command)
    for keyword, value in values.items():
        if keyword not in offered:
            offered = keywords.options(command)
        if keyword in offered:
            keywords.validated(offered[keyword], value)
        elif extensions.installed(registry.GROUP):
            raise keywords.unknown(keyword, offered, "the recipe")
        else:
            raise RecipeError(f"the recipe has an option '{keyword[:60]}' that no pass declares", fix=_FIX)


_FIX = "install the package that adds it, or export the model again"


def _options_of(names: Collection[str], command: Command) -> dict[str, Option]:
    known = [registry.get(name) for name in dict.fromkeys(names) if name in registry.built_in()]
    return {option.keyword: option for cls in known for option in cls.options if command in option.commands}

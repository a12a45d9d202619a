"""What a recipe asks for again, and where it is not the recipe of the file that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.inspection import FileFacts
from nfexport.passes import registry
from nfexport.passes.plan import origin_of
from nfexport.recipe.recipe import Recipe, canonical
from nfexport.recipe.request import RecipeRequest


def recipe_of(facts: FileFacts) -> Recipe:
    """Return the recipe of a file that is to be built again.

    Raises OnnxFileError if it has none, RecipeError for one that cannot be read."""
    if facts.recipe_error is not None:
        raise facts.recipe_error
    if facts.recipe is None:
        raise OnnxFileError(
            f"'{facts.path}' has no recipe, so it cannot be built again", fix="pass a file that nfexport exported"
        )
    return facts.recipe


def request_of(recipe: Recipe, checkpoint: str | Path | None) -> RecipeRequest:
    """Return what a recipe asks for; checkpoint supplies weights that came from a file.

    Raises RecipeError for a checkpoint where the weights came from elsewhere."""
    request = RecipeRequest.of(recipe)
    if checkpoint is None:
        return request
    if recipe.weights.kind != "checkpoint":
        raise RecipeError(
            f"the file holds {recipe.weights.kind} weights, not those of a checkpoint", fix="leave --checkpoint out"
        )
    return replace(request, source=replace(request.source, checkpoint=str(checkpoint), pretrained=False))


def code_changes(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """Return which code differs: versions of packages, and third-party passes."""
    found = [
        f"version of {name}: the file was written with {old.versions.get(name)}, and {version} is installed"
        for name, version in new.versions.items()
        if old.versions.get(name) != version
    ]
    for step in old.steps:
        if step.origin is None:
            continue
        here = origin_of(registry.get(step.name).from_params(step.params))
        if here != step.origin:
            found.append(f"code of the pass '{step.name}': its sha256 or version is not the recorded one")
    return tuple(found)


def field_changes(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """Return where two recipes differ in what they say of the file: the weights first, then the other fields."""
    found = []
    if old.weights.digest != new.weights.digest:
        found.append(
            f"weights: the state dict of the recipe is {old.weights.digest[:12]}…, here {new.weights.digest[:12]}…"
        )
    found += [
        f"recipe: '{name}' is {_short(getattr(old, name))}, rebuilt {_short(getattr(new, name))}"
        for name in old.__struct_fields__
        if name not in ("versions", "weights") and _form(getattr(old, name)) != _form(getattr(new, name))
    ]
    return tuple(found)


def _form(value: Any) -> Any:
    """Return a field as JSON holds it: read from a file, a tuple of a pass's parameters is a list."""
    return None if value is UNSET else canonical(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"

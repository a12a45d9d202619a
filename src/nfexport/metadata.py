"""The recipe's place in an ONNX file: two entries of metadata_props."""

from __future__ import annotations

from collections.abc import Mapping

from nfexport.errors import RecipeError
from nfexport.recipe import Recipe

RECIPE_KEY = "nfexport.recipe"
DIGEST_KEY = "nfexport.recipe_sha256"


def write_recipe(recipe: Recipe) -> dict[str, str]:
    """Return the entries that carry the recipe: its canonical JSON, and the sha256 of that."""
    return {RECIPE_KEY: recipe.to_json(), DIGEST_KEY: recipe.digest}


def read_recipe(metadata: Mapping[str, str]) -> Recipe | None:
    """Return the recipe in a file's metadata, or None if there is none.

    Raises RecipeError if it cannot be read, or was changed after it was written."""
    text = metadata.get(RECIPE_KEY)
    if text is None:
        return None
    recipe = Recipe.from_json(text)
    if metadata.get(DIGEST_KEY) != recipe.digest:
        raise RecipeError(
            "the recipe in the file does not match its own digest: it was changed after the export",
            fix="export the model again",
        )
    return recipe

"""The metadata_props entries of nfexport in an ONNX file: the recipe, and the digest of the external data."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.recipe.recipe import Recipe, canonical
from nfexport.recipe.validation import Digest, Natural, convert, parse_json

RECIPE_KEY = "nfexport.recipe"
DIGEST_KEY = "nfexport.recipe_sha256"
EXTERNAL_KEY = "nfexport.external_data"


class ExternalRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file next to an ONNX file that holds its weights: its name, its sha256, and its size in bytes."""

    location: str
    sha256: Digest
    size: Natural


def write_recipe(recipe: Recipe) -> dict[str, str]:
    """Return the entries that carry the recipe: its canonical JSON, and the sha256 of that."""
    return {RECIPE_KEY: recipe.to_json(), DIGEST_KEY: recipe.digest}


def unchecked_recipe(metadata: Mapping[str, str]) -> Recipe | None:
    """Return the recipe in a file's metadata, or None if there is none; its passes and options are not looked at.

    Use nfexport.passes.recorded.read_recipe, which does.

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


def write_external_record(record: ExternalRecord) -> dict[str, str]:
    """Return the entry that identifies the file with the weights."""
    return {EXTERNAL_KEY: canonical(record)}


def read_external_record(metadata: Mapping[str, str]) -> ExternalRecord | None:
    """Return the record of the external data in a file's metadata; None if there is none.

    Raises OnnxFileError if the entry cannot be read."""
    text = metadata.get(EXTERNAL_KEY)
    if text is None:
        return None
    what = f"the entry '{EXTERNAL_KEY}' in the metadata of the file"
    try:
        return convert(parse_json(text, what), ExternalRecord, what)
    except RecipeError as error:
        raise OnnxFileError(f"{what} cannot be read", fix="export the model again") from error

"""What nfexport keeps in the metadata_props of an ONNX file: its recipe, and what its weights' file must be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.recipe.recipe import Recipe

RECIPE_KEY = "nfexport.recipe"
DIGEST_KEY = "nfexport.recipe_sha256"
EXTERNAL_KEY = "nfexport.external_data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExternalRecord:
    """The file beside an ONNX file that holds its weights: its name, the sha256 of it in hexadecimal digits, and
    its size in bytes."""

    location: str
    sha256: str
    size: int


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


def write_external_record(record: ExternalRecord) -> dict[str, str]:
    """Return the entry that tells what the file with the weights has to be."""
    return {EXTERNAL_KEY: json.dumps(dataclasses.asdict(record), sort_keys=True, separators=(",", ":"))}


def read_external_record(metadata: Mapping[str, str]) -> ExternalRecord | None:
    """Return what a file's metadata tells of the file with its weights; None if it tells nothing.

    Raises OnnxFileError if the entry cannot be read."""
    text = metadata.get(EXTERNAL_KEY)
    if text is None:
        return None
    try:
        entry = json.loads(text)
        location, sha256, size = entry["location"], entry["sha256"], entry["size"]
        if not (isinstance(location, str) and isinstance(sha256, str) and type(size) is int):
            raise ValueError(text)
    except (ValueError, TypeError, KeyError) as error:
        raise OnnxFileError(
            f"the entry '{EXTERNAL_KEY}' in the metadata of the file cannot be read", fix="export the model again"
        ) from error
    return ExternalRecord(location=location, sha256=sha256, size=size)

"""Read a preset file: every key is checked, and a mistake is named by its line and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nfexport.errors import PresetError, RecipeError
from nfexport.presets.consistency import contradictions
from nfexport.presets.definition import Description, Preset
from nfexport.recipe.toml_file import TomlFile
from nfexport.recipe.validation import check_strings

PROSE = ("title", "summary", "licence", "dataset", "origin", "citations", "claimed")
"""The keys that go into nfexport.about; the others go into the recipe, which allows no markup at all."""


def read_preset(path: Path) -> Preset:
    """Return the preset in a file.

    Raises PresetError, with line and key, for a file that is not TOML, a key that is unknown, missing or of the wrong
    type, a value out of range, for a contradiction, and for control characters or markup in a string."""
    file = TomlFile(path, refuse=PresetError, keys="correct that line")
    for is_prose in (False, True):
        _check_strings(
            path, {key: value for key, value in file.values.items() if (key in PROSE) == is_prose}, is_prose
        )
    preset = Preset(
        name=path.name.removesuffix(".toml"), path=path, **msgspec.structs.asdict(file.value(Description))
    )
    if preset.checkpoint is not None:
        preset = msgspec.structs.replace(preset, checkpoint=path.parent / preset.checkpoint)
    for place, problem, fix in contradictions(preset):
        raise file.wrong(place, problem, fix)
    return preset


def _check_strings(path: Path, values: Mapping[str, Any], is_prose: bool) -> None:
    try:
        check_strings(values, f"'{path}'", prose=is_prose)
    except RecipeError as error:
        raise PresetError(error.problem, fix="take them out") from error

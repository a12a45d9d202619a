"""Read a preset file: every key is checked, and a mistake is named by its line and key."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nfexport.errors import PresetError
from nfexport.presets.consistency import contradictions
from nfexport.presets.definition import Description, Preset
from nfexport.recipe.toml_file import TomlFile


def read_preset(path: Path) -> Preset:
    """Return the preset in a file.

    Raises PresetError, with line and key, for a file that is not TOML, a key that is unknown, missing or of the wrong
    type, a value out of range, and for a contradiction."""
    file = TomlFile(path, refuse=PresetError, keys="correct that line")
    preset = Preset(
        name=path.name.removesuffix(".toml"), path=path, **msgspec.structs.asdict(file.value(Description))
    )
    if preset.checkpoint is not None:
        preset = msgspec.structs.replace(preset, checkpoint=path.parent / preset.checkpoint)
    for place, problem, fix in contradictions(preset):
        raise file.wrong(place, problem, fix)
    return preset

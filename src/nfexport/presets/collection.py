"""Presets by their names: those of the package, and those in folders of the user's, which come first."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from nfexport.errors import PresetError
from nfexport.presets.definition import Preset
from nfexport.presets.preset_file import read_preset

SHIPPED = Path(__file__).parent / "files"
SUFFIX = ".toml"


def preset_files(folders: Sequence[Path] = ()) -> dict[str, Path]:
    """Return the preset files by name, sorted: a folder's hides one of the same name in a later folder, and in
    the package. Raises PresetError for a folder that is not there."""
    found: dict[str, Path] = {}
    for folder in (*folders, SHIPPED):
        if not folder.is_dir():
            raise PresetError(f"there is no folder '{folder}'", fix="check the path given to --preset-dir")
        for path in folder.glob(f"*{SUFFIX}"):
            found.setdefault(path.name.removesuffix(SUFFIX), path)
    return dict(sorted(found.items()))


def list_presets(folders: Sequence[Path] = ()) -> list[Preset]:
    """Return every preset, by name. Raises PresetError if one of them cannot be read."""
    return [read_preset(path) for path in preset_files(folders).values()]


def find_preset(name: str, folders: Sequence[Path] = ()) -> Preset:
    """Return the preset of this name. Raises PresetError, with the nearest names, if there is none."""
    files = preset_files(folders)
    if name not in files:
        near = difflib.get_close_matches(name.lower(), files, n=3, cutoff=0.4) or list(files)
        raise PresetError(
            f"there is no preset '{name}'", fix=f"use one of {', '.join(near)}, or add a folder with --preset-dir"
        )
    return read_preset(files[name])

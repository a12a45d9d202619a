"""Presets: models as others document them, one TOML file each in files/; users' own lie in folders of theirs.

Standard library only. To add a preset, add a file; its name is the preset's.
"""

from __future__ import annotations

from nfexport.presets.collection import find_preset, list_presets
from nfexport.presets.definition import FORMS, Form, Preset

__all__ = ["FORMS", "Form", "Preset", "find_preset", "list_presets"]

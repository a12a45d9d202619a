"""Where a model comes from: from what a user names, or hands over, to a torch module with its weights.

To add a kind of source, add a file: `sources/NAME.py` with the two functions of SourceKind. Another package adds one
by an entry point of the group `nfexport.sources` that names a module, or an object, with these functions. What kinds
of source share is in the folders below: `model/` for any torch module, `timm/` for timm's.

Importing this package, or a file of it, is cheap: torch and timm are imported when a model is loaded.
"""

from __future__ import annotations

from nfexport.sources.model.loaded_model import InputSpec, LoadedModel
from nfexport.sources.model.recipe_model import load_from_recipe
from nfexport.sources.model.source_kinds import SourceKind, find, load, names, resolve
from nfexport.sources.model.spec import ModelSpec

__all__ = [
    "InputSpec",
    "LoadedModel",
    "ModelSpec",
    "SourceKind",
    "find",
    "load",
    "load_from_recipe",
    "names",
    "resolve",
]

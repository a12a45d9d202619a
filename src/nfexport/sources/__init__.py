"""timm's models, with their weights: the only package that imports timm.

Importing it costs nothing; torch and timm are imported when one of its functions is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nfexport.sources.spec import ModelSpec

if TYPE_CHECKING:
    from nfexport.sources.catalogue import ArchitectureEntry, list_architectures, parameter_count
    from nfexport.sources.loading import LoadedModel, load, load_from_recipe

__all__ = [
    "ModelSpec",
    "LoadedModel",
    "load",
    "load_from_recipe",
    "ArchitectureEntry",
    "list_architectures",
    "parameter_count",
]

_HOMES = {
    "LoadedModel": "loading",
    "load": "loading",
    "load_from_recipe": "loading",
    "ArchitectureEntry": "catalogue",
    "list_architectures": "catalogue",
    "parameter_count": "catalogue",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nfexport.sources' has no attribute '{name}'")
    return getattr(importlib.import_module(f"nfexport.sources.{_HOMES[name]}"), name)

"""A torch module that is handed over in Python: nfexport.export(module, inputs=…)."""

from __future__ import annotations

import sys

from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec

RUNS_CODE = True
"""A recipe that names a model of this kind does not load it: the user has to hand it over again."""


def matches(model: object) -> bool:
    """Say whether it is a torch module."""
    # whoever has a module has imported torch
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def name_of(model: object) -> str:
    """Return the name that a recipe keeps: the qualified name of the class."""
    return f"{type(model).__module__}:{type(model).__qualname__}"


def load(spec: ModelSpec) -> LoadedModel:
    """Return the module, with what was found out about it.

    Raises RecipeError for a module that cannot be exported, and CheckpointError."""
    import torch

    from nfexport.sources.model import user_module
    from nfexport.sources.model.code_origin import code_origin

    module = spec.instance
    assert isinstance(module, torch.nn.Module)
    provenance = code_origin(type(module), source="torch_modules", name=name_of(module))
    return user_module.describe(module, spec, provenance, name=type(module).__name__)

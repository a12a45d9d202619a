"""A program of torch.export, in a file (.pt2) or handed over in Python."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec

if TYPE_CHECKING:
    import torch

RUNS_CODE = True
"""A recipe holds no path: the user has to name the program again."""


def matches(model: object) -> bool:
    """Say whether it is a program, or the name of a .pt2 file."""
    if isinstance(model, str):
        return model.lower().endswith(".pt2")
    exporting = sys.modules.get("torch.export")
    return exporting is not None and isinstance(model, exporting.ExportedProgram)


def name_of(model: object) -> str:
    """Return the name that a recipe keeps."""
    return re.split(r"[/\\]", model)[-1] if isinstance(model, str) else "ExportedProgram"


def load(spec: ModelSpec) -> LoadedModel:
    """Return the program as a module, with what was found out about it.

    Raises UnknownModelError if there is no such file, CheckpointError if it is damaged or would run code."""
    import dataclasses

    from nfexport.recipe.recipe import Provenance
    from nfexport.sources.model import user_module
    from nfexport.sources.model.program_file import module_of, program_inputs, program_keywords, read_program

    digests = {}
    program: Any = spec.instance
    if program is None:
        program, digest = read_program(Path(spec.name))
        digests = {name_of(spec.name): digest}
    name = name_of(spec.model)
    module: torch.nn.Module = module_of(program)
    asked = dataclasses.replace(spec, inputs=spec.inputs or program_inputs(program))
    provenance = Provenance(source="exported_programs", name=name, files=digests)
    keywords = program_keywords(program, [one.name for one in asked.inputs])
    loaded = user_module.describe(module, asked, provenance, name=name.removesuffix(".pt2"), keywords=keywords)
    return dataclasses.replace(loaded, resolved={"model": name})

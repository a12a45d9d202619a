"""Passes of onnx_ir and rewrite rules of onnxscript, as passes of nfexport."""

from __future__ import annotations

from nfexport.errors import InputError
from nfexport.passes.base import Pass


def adapted(name: str, found: object) -> type[Pass]:
    """Return an onnx_ir pass (a class or an instance), or onnxscript rewrite rules, as a pass of that name.

    Raises InputError for anything else."""
    raise InputError(f"'{name}' is no graph pass", fix="name a subclass of nfexport.passes.base.Pass")

"""Which command helps: a flag at export for a file of nfexport, surgery for any other."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import onnx

from nfexport.errors import RecipeError
from nfexport.passes.recorded import read_recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advisor:
    """For one file: architecture is the timm name in its recipe, None without one."""

    path: Path
    architecture: str | None

    @classmethod
    def of(cls, path: Path, model: onnx.ModelProto) -> Advisor:
        """Return the advisor of a file; a recipe that cannot be read counts as none."""
        try:
            recipe = read_recipe({entry.key: entry.value for entry in model.metadata_props})
        except RecipeError:
            recipe = None
        return cls(path=path, architecture=None if recipe is None else recipe.model_name)

    def flag(self, flag: str) -> str:
        """Return the command that applies a flag to this file."""
        surgery = f"nfexport surgery {shlex.quote(str(self.path))} -o OUT.onnx {flag}"
        if self.architecture is None:
            return f"run '{surgery}'"
        return f"add {flag} to 'nfexport {self.architecture}', or run '{surgery}'"

    def cut(self, tensor: str) -> str:
        """Return the command that cuts off what comes after a tensor."""
        return (
            "no flag replaces it; another opset may express it differently (--opset), or end the file before it: "
            f"'nfexport surgery {shlex.quote(str(self.path))} -o OUT.onnx --extract-outputs {shlex.quote(tensor)}'"
        )

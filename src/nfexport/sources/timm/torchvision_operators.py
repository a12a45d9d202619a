"""Import timm, also where torchvision's compiled operators cannot be loaded.

timm needs torchvision for its image transforms only. torchvision's wheel for Linux is built for CUDA; with a CPU-only
torch its library does not load, and `import torchvision` fails with "operator torchvision::nms does not exist", as
its Python side describes operators that are not registered. Declaring the two schemas beforehand is enough: nfexport
does not call them.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from nfexport import process
from nfexport.errors import MissingPackage

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: Any = None
"""The library of the declared schemas, which are removed when it is collected."""


def import_timm() -> ModuleType:
    """Import timm and return it; declare torchvision's operators first if they are missing.

    Raises MissingPackage if torch, torchvision or timm is not installed, or if torch and
    torchvision do not work together for another reason."""
    if "timm" in sys.modules:
        return sys.modules["timm"]
    try:
        with process.garbage_collection_paused():
            _import_torchvision()
            return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        package = (error.name or "timm").split(".")[0]
        raise MissingPackage(f"the package '{package}' is not installed", fix=f"pip install {package}") from error


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise _broken(error) from error
        _declare()
        # the failed import leaves half-initialised modules behind
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        try:
            importlib.import_module("torchvision")
        except RuntimeError as second:
            raise _broken(second) from second


def _declare() -> None:
    global _declared
    import torch

    if _declared is None:
        _declared = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            _declared.define(schema)


def _broken(error: RuntimeError) -> MissingPackage:
    import importlib.metadata

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision"))
    return MissingPackage(
        f"{versions} do not work together ({str(error).splitlines()[0]})",
        fix="install a matching pair, such as torch 2.13.0 with torchvision 0.28.0",
    )

"""The network that all peers export: a timm network, built as timm's own scripts build it."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def options(description: str | None) -> argparse.Namespace:
    """Return MODEL, FILE, --size (pixels, square) and --opset from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--opset", type=int, default=11)
    return parser.parse_args()


def import_timm() -> ModuleType:
    """Import timm, also where torchvision's compiled operators do not load beside a CPU-only torch.

    The import needs the schemas of two operators; declaring them takes no measurable time."""
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        import_timm.library = library  # type: ignore[attr-defined]  # collected, it would take the schemas along
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    return importlib.import_module("timm")


def create(name: str, *, exportable: bool = False) -> Any:
    """Return the network in evaluation mode, with timm's random weights, and scales, gains and biases as a trained
    network has them.

    timm starts the scales of its normalisations at 1, their biases and the gains of residual branches at 0. Some
    tools and runtimes drop a product with 1 or 0, and a sum with 0: the file would be faster than that of any
    trained network."""
    import torch

    model = import_timm().create_model(name, pretrained=False, exportable=exportable).eval()
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1, generator=drawn)
            elif parameter.numel() == max((1, *parameter.shape)):
                parameter.uniform_(0.5, 1.3, generator=drawn)
    return model

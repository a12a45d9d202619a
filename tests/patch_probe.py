"""Write what one copy of timm computes; test_patches.py runs this with that copy on PYTHONPATH.

    python patch_probe.py FOLDER [--export]

FOLDER gets `convs.npz` (kernel, weight and gain of every weight-standardised convolution of the network;
kernel and gradient of single layers), `network.npz` (image and output), `report.json` and, with --export,
`network.onnx`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

ARCHITECTURE = "nf_regnet_b0"
IMAGE_SIZE = 64
SEED = 20210121


def declare_torchvision_operators() -> torch.library.Library | None:
    """Give a torchvision built for another torch the two schemas it asks for at import; timm uses neither."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        return library
    return None


def import_std_conv() -> ModuleType:
    """Return timm's std_conv module, wherever this release keeps it."""
    try:
        return importlib.import_module("timm.layers.std_conv")
    except ModuleNotFoundError:
        return importlib.import_module("timm.models.layers.std_conv")


def single_layers(std_conv: ModuleType) -> dict[str, nn.Conv2d]:
    """Return one small layer of every class, and of every branch that timm's own networks leave out."""
    layers = {
        "StdConv2d": std_conv.StdConv2d(6, 8, 3, groups=2),
        "StdConv2dSame": std_conv.StdConv2dSame(6, 8, 3, stride=2),
        "ScaledStdConv2d": std_conv.ScaledStdConv2d(6, 8, 3, gamma=1.7),
        "ScaledStdConv2dSame": std_conv.ScaledStdConv2dSame(6, 8, 3, stride=2, gamma=1.7),
    }
    for name in ("ScaledStdConv2d", "ScaledStdConv2dSame"):
        if "use_layernorm" in inspect.signature(getattr(std_conv, name)).parameters:
            layers[f"{name}-layernorm"] = getattr(std_conv, name)(6, 8, 3, gamma=1.7, use_layernorm=True)
    return layers


def fill(module: nn.Module) -> None:
    """Seed every parameter: gains that are not 0, filters with a mean and so small that eps matters."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, value in sorted(module.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("gain"):
                value.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                value.copy_(0.1 * noise)
            elif value.ndim == 4:
                offset = torch.randn(len(value), 1, 1, 1, generator=generator)
                value.copy_(0.02 * noise + 0.01 * offset)
            else:
                value.copy_(noise * value[0].numel() ** -0.5)


def kernel_of(layer: nn.Conv2d) -> Tensor:
    """Return the kernel [O, I/groups, kH, kW] with which the layer calls F.conv2d."""
    with mock.patch.object(torch.nn.functional, "conv2d") as conv2d:
        layer(torch.zeros(1, layer.in_channels, IMAGE_SIZE, IMAGE_SIZE))
    kernel: Tensor = conv2d.call_args.args[1]
    return kernel


def gradient_of(layer: nn.Conv2d) -> Tensor:
    """Return the gradient of a seeded weighting of the kernel's entries with respect to the weight."""
    kernel = kernel_of(layer)
    weighting = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(SEED + 1))
    (gradient,) = torch.autograd.grad((kernel * weighting).sum(), layer.weight)
    return gradient


def traced_operators(layer: nn.Conv2d) -> set[str]:
    """Return the operators that tracing meets, which are the ones an exporter must know."""
    image = torch.zeros(2, layer.in_channels, 16, 16)
    traced = torch.jit.trace(layer, image)  # type: ignore[no-untyped-call]
    return {node.kind() for node in traced.inlined_graph.nodes()}


def standardised(network: nn.Module, std_conv: ModuleType) -> Iterator[tuple[str, Any]]:
    """Return the weight-standardised convolutions of a network, by name."""
    classes = tuple(
        getattr(std_conv, name) for name in ("StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")
    )
    return ((name, module) for name, module in network.named_modules() if isinstance(module, classes))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--export", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _kept_alive = declare_torchvision_operators()
    import timm

    std_conv = import_std_conv()
    arrays: dict[str, np.ndarray] = {}
    operators: set[str] = set()
    for name, layer in single_layers(std_conv).items():
        fill(layer)
        arrays[f"kernel/layer.{name}"] = kernel_of(layer).detach().numpy()
        arrays[f"gradient/layer.{name}"] = gradient_of(layer).numpy()
        torch.jit.script(layer)
        operators |= traced_operators(layer)
        if name == "StdConv2d" and hasattr(std_conv, "get_weight"):
            arrays["kernel/get_weight"] = std_conv.get_weight(layer).detach().numpy()

    network = timm.create_model(ARCHITECTURE, num_classes=10).eval()
    fill(network)
    settings = {}
    for name, conv in standardised(network, std_conv):
        arrays[f"kernel/{name}"] = kernel_of(conv).detach().numpy()
        arrays[f"weight/{name}"] = conv.weight.detach().numpy()
        arrays[f"gain/{name}"] = conv.gain.detach().numpy()
        settings[name] = {"scale": conv.scale, "eps": conv.eps}
    image = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        output = network(image)
    if options.export:
        path = str(options.folder / "network.onnx")
        torch.onnx.export(network, (image,), path, opset_version=11, dynamo=False, input_names=["image"])
    np.savez(options.folder / "convs.npz", **arrays)  # type: ignore[arg-type]  # numpy's annotation lags
    np.savez(options.folder / "network.npz", image=image.numpy(), output=output.numpy())
    report = {
        "version": timm.__version__,
        "file": std_conv.__file__,
        "settings": settings,
        "operators": sorted(operators),
    }
    (options.folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()

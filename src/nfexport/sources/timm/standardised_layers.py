"""Which of timm's layers standardise their weights, and how."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

from torch import nn

from nfexport.graph.standardisation import Standardisation
from nfexport.sources.timm.torchvision_operators import import_timm


@functools.cache
def standardised_layers() -> tuple[type[nn.Module], ...]:
    """Return timm's four weight-standardised convolutions."""
    layers = import_timm().layers
    return (layers.StdConv2d, layers.StdConv2dSame, layers.ScaledStdConv2d, layers.ScaledStdConv2dSame)


def is_standardised(module: nn.Module) -> bool:
    """Say whether the module is a weight-standardised convolution."""
    return isinstance(module, standardised_layers())


def standardised_convolutions(model: nn.Module) -> int:
    """Count the weight-standardised convolutions of a model."""
    return sum(is_standardised(module) for module in model.modules())


def standardisations(model: nn.Module) -> dict[str, Standardisation]:
    """Return, by the name of the weight, how each of timm's layers standardises it.

    Only for layers whose formula is certain: of exactly timm's classes, as a subclass or a parametrisation may
    compute anything, and with parameters that no other layer shares."""
    users = Counter(id(parameter) for parameter in _parameters_of_layers(model))
    found = {}
    for path, module in model.named_modules():
        if type(module) not in standardised_layers() or module._forward_pre_hooks:
            continue
        own: dict[str, Any] = module._parameters
        weight, gain = own.get("weight"), own.get("gain")
        scaled = hasattr(module, "scale")
        if weight is None or users[id(weight)] != 1 or scaled != (gain is not None):
            continue
        prefix = f"{path}." if path else ""
        found[f"{prefix}weight"] = Standardisation(
            gain=f"{prefix}gain" if scaled else None,
            scale=float(module.scale) if scaled else 1.0,
            eps=float(module.eps),
        )
    return found


def _parameters_of_layers(model: nn.Module) -> list[nn.Parameter]:
    return [
        parameter for module in model.modules() for parameter in module._parameters.values() if parameter is not None
    ]

"""Which layers standardise their weights."""

from __future__ import annotations

import functools

from torch import nn

from nfexport.models.torchvision_operators import import_timm


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

"""Let a model give up its weights, where a graph has taken them and nobody asks the model any more."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def give_up_weights(module: torch.nn.Module) -> None:
    """Leave the module without the values of its parameters and buffers: whoever shares one keeps it."""
    for tensor in _tensors(module):
        tensor.data = torch.empty(0, dtype=tensor.dtype)


def take_weights(module: torch.nn.Module, other: torch.nn.Module) -> None:
    """Give a module without weights those of another of the same form, shared."""
    for tensor, given in zip(_tensors(module), _tensors(other), strict=True):
        tensor.data = given.data


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()

"""Release a model's weights once a graph shares them and the model is not needed any more."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def release_weights(module: torch.nn.Module) -> None:
    """Empty the parameters and buffers of the module; a graph that shares their memory keeps it."""
    for tensor in _tensors(module):
        tensor.data = torch.empty(0, dtype=tensor.dtype)


def take_weights(module: torch.nn.Module, other: torch.nn.Module) -> None:
    """Let a module without weights share those of another of the same architecture."""
    for tensor, given in zip(_tensors(module), _tensors(other), strict=True):
        tensor.data = given.data


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()

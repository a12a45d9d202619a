"""Share a model's own tensors with a traced graph, and name nodes by module."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator

import onnx_ir as ir
import torch

_SMALL = 4096
"""Numbers of the largest parameter for which no stand-in is traced."""


def named_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by name; a tensor that several names share appears under each."""
    tensors: dict[str, torch.Tensor] = {}
    tensors.update(module.named_parameters(remove_duplicate=False))
    tensors.update(module.named_buffers(remove_duplicate=False))
    # detached tensors on the same memory: they stay when the module's own are replaced
    return {name: tensor.detach() for name, tensor in tensors.items()}


def is_large(parameter: torch.Tensor) -> bool:
    """Say whether the parameter is a weight, whose numbers an exporter does not need."""
    return parameter.dim() > 1 and parameter.numel() > _SMALL and parameter.is_floating_point()


@contextlib.contextmanager
def standing_in(module: torch.nn.Module) -> Iterator[None]:
    """Replace the large parameters by tensors without memory of their own, until the block ends.

    Each of their numbers is NaN, so that one that becomes a constant of the graph is detected. Vectors and small
    tensors stay, as code may read their values."""
    real: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
    try:
        for parameter in module.parameters():
            if is_large(parameter):
                real.append((parameter, parameter.data))
                parameter.data = parameter.data.new_full((1,) * parameter.dim(), math.nan).expand(parameter.shape)
        yield
    finally:
        for parameter, data in real:
            parameter.data = data


def as_ir_tensor(name: str, tensor: torch.Tensor) -> ir.TensorProtocol:
    """Return a tensor for the graph that shares the memory of a torch tensor, if that is contiguous."""
    return ir.Tensor(tensor.detach().contiguous().numpy(), name=name)


def scope_of(module_path: str) -> str:
    """Return a module's path as a node scope: 'stages.0.1.conv2' becomes '/stages.0.1/conv2'."""
    return "".join(f"/{part}" for part in re.split(r"\.(?!\d+(?:\.|$))", module_path) if part)

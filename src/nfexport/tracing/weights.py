"""Attach a model's own tensors to a traced graph, and name its nodes by module."""

from __future__ import annotations

import re

import onnx_ir as ir
import torch


def named_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by name; a tensor that several names share appears under each."""
    tensors: dict[str, torch.Tensor] = {}
    tensors.update(module.named_parameters(remove_duplicate=False))
    tensors.update(module.named_buffers(remove_duplicate=False))
    return tensors


def as_ir_tensor(name: str, tensor: torch.Tensor) -> ir.TensorProtocol:
    """Wrap a torch tensor for the graph; the bytes are shared."""
    return ir.Tensor(tensor.detach().contiguous().numpy(), name=name)


def scope_of(module_path: str) -> str:
    """Write a module's path as a node scope: 'stages.0.1.conv2' becomes '/stages.0.1/conv2'."""
    return "".join(f"/{part}" for part in re.split(r"\.(?!\d+(?:\.|$))", module_path) if part)

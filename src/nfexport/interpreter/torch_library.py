"""torch, imported when one of its functions is first needed: the table of operators is read without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nfexport.graph.libraries import Library

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
else:
    torch, F = map(Library, ("torch", "torch.nn.functional"))

Tensor: TypeAlias = "torch.Tensor"

__all__ = ["F", "Tensor", "torch"]

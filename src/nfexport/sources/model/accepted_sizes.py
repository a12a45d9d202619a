"""Which image sizes a network accepts: its own alone, or others too, and which of those to check."""

from __future__ import annotations

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.second_sizes import second_size

REFUSALS = (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError)
"""What networks raise for a size that they do not accept, when they are built or when they run."""


def check_flexible(module: torch.nn.Module, architecture: str, image_size: tuple[int, int], in_channels: int) -> None:
    """Check that the network accepts images of other sizes.

    Raises RecipeError, with the reason, if it does not, or if it pads them by an amount that a traced graph would
    hold as a constant."""
    reason = why_fixed(module)
    if reason is None:
        height, width = second_size(image_size)
        try:
            with torch.inference_mode():
                module(torch.zeros(1, in_channels, height, width))
        except REFUSALS as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = f"at {height}×{width} it raises: {lines[0].rstrip('.')}"
    if reason is not None:
        raise RecipeError(
            f"the image size of {architecture} is fixed ({reason})",
            fix="leave out --dynamic-size, or pass --image-size",
        )


def why_fixed(module: torch.nn.Module) -> str | None:
    """Return why the network accepts one image size only, as far as its modules show; None if they show no reason."""
    for path, child in module.named_modules():
        kind = type(child).__name__
        if kind.endswith("Same") and _strides(child):
            return f"{path} ({kind}) pads by the remainder of the size, which a traced graph holds as a constant"
    names = {name.rpartition(".")[2] for name, _ in (*module.named_parameters(), *module.named_buffers())}
    for name in ("pos_embed", "relative_position_bias_table", "rel_pos", "absolute_pos_embed"):
        if name in names:
            return f"it has position embeddings ('{name}') for one size"
    return None


def _strides(module: torch.nn.Module) -> bool:
    stride = getattr(module, "stride", 1)
    return any(step > 1 for step in stride) if isinstance(stride, (tuple, list)) else int(stride) > 1

"""Further sizes at which a file with symbolic sizes is checked."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.recipe.tensor_spec import BATCH, TensorSpec

STEP = 32
"""Pixels that most networks reduce to one: at a multiple of it no layer runs out of pixels."""


def second_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Return another (height, width) in pixels: larger, and different in both."""
    return image_size[0] + STEP, image_size[1] + 2 * STEP


def second_sizes(specs: Sequence[TensorSpec]) -> dict[str, int]:
    """Return another value for each symbolic size, by name; all different, none as it was traced."""
    result: dict[str, int] = {}
    for spec in specs:
        for axis, name in spec.symbols.items():
            # of an image, steps of pixels; of any other axis, of entries
            step = STEP if len(spec.shape) == 4 and axis >= 2 else 1
            result.setdefault(name, spec.sizes[name] + step * (len(result) + 1))
    if BATCH in result:
        traced = next(spec.sizes[BATCH] for spec in specs if BATCH in spec.sizes)
        result[BATCH] = 3 if traced != 3 else 2
    return result

"""The batches for a file whose inputs are not one image: seeded tensors of any shape and element type.

    float [N, C, H, W]   the kinds of images that image_kinds.py draws, in −2..2, and a normal distribution
    other floats         a normal distribution, and uniform numbers in −2..2
    whole numbers        uniform in low..high, 0..1 unless the input says otherwise
    bool                 either, at random

Every entry of a batch is different from the others. One symbolic size has one value in all inputs of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.recipe.tensor_spec import BATCH, TensorSpec
from nfexport.verification.image_kinds import IMAGE_KINDS, Bits, normal
from nfexport.verification.input_cases import ORDER, InputCase

BATCHES = (3, 1, 2)
"""Sizes of a symbolic batch."""

FIXED = 4
"""Batches of a file whose batch is fixed."""

MOST_CHANNELS = 16
"""The largest number of channels of what is drawn as an image."""

LIMIT = 2.0
"""Images lie in −LIMIT..LIMIT, as normalised ones do."""


def tensor_cases(
    specs: Sequence[TensorSpec], other_sizes: Sequence[Mapping[str, int]] = (), *, seed: int
) -> list[InputCase]:
    """Return the batches: some at the sizes that were traced, then one at each of the other sizes."""
    dynamic = any(BATCH in spec.symbols.values() for spec in specs)
    batches = BATCHES if dynamic else (None,) * FIXED
    plan: list[tuple[str, Mapping[str, int]]] = [
        (f"sample {number}", {} if batch is None else {BATCH: batch}) for number, batch in enumerate(batches, start=1)
    ]
    for sizes in other_sizes:
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items() if name != BATCH)
        plan.append((f"sample {len(plan) + 1}" + (f" at {shown}" if shown else ""), sizes))
    return [_case(specs, name, sizes, seed, number) for number, (name, sizes) in enumerate(plan)]


def _case(specs: Sequence[TensorSpec], name: str, sizes: Mapping[str, int], seed: int, number: int) -> InputCase:
    arrays = tuple(draw_tensor(spec, spec.at(sizes), seed=seed, number=number) for spec in specs)
    entries = {array.shape[0] for spec, array in zip(specs, arrays, strict=True) if spec.symbols.get(0) == BATCH}
    # entries are compared in the opposite order only where each input has one for each
    together = len(entries) == 1 and all(spec.symbols.get(0) == BATCH for spec in specs)
    return InputCase(name=name, batch=entries.pop() if together else 1, arrays=arrays)


def draw_tensor(spec: TensorSpec, shape: tuple[int, ...], *, seed: int, number: int) -> NDArray[Any]:
    """Return the tensor of an input, of this shape, for the batch of this number; it is determined by seed alone."""
    bits = Bits(seed, f"{spec.name} {number}")
    if spec.dtype == "bool":
        return bits.uniform(*shape) < 0.5 if shape else np.asarray(number % 2 == 0)
    if spec.dtype.startswith(("int", "uint")):
        low = spec.low if spec.low is not None else min(0, spec.high or 0)
        high = spec.high if spec.high is not None else low + 1
        whole = low + np.floor(bits.uniform(*(shape or (1,))) * (high - low + 1)).reshape(shape)
        return np.asarray(np.clip(whole, low, high)).astype(spec.dtype)
    if len(shape) == 4 and shape[1] <= MOST_CHANNELS:
        return _images(spec, shape, seed=seed, number=number).astype(spec.dtype)
    flat = (
        normal(bits, math.prod(shape), 1, 1) if number % 2 == 0 else (2 * bits.uniform(math.prod(shape)) - 1) * LIMIT
    )
    return np.asarray(flat).reshape(shape).astype(spec.dtype)


def _images(spec: TensorSpec, shape: tuple[int, ...], *, seed: int, number: int) -> NDArray[np.float64]:
    """Return images of kinds that change from entry to entry, and from one batch to the next."""
    images = []
    for entry in range(shape[0]):
        kind = ORDER[(number * len(BATCHES) + entry) % len(ORDER)]
        bits = Bits(seed, f"{spec.name} {kind} {number} {entry}")
        drawn = (
            normal(bits, *shape[1:]) if kind == "normal" else (2 * IMAGE_KINDS[kind](bits, *shape[1:]) - 1) * LIMIT
        )
        images.append(drawn)
    return np.stack(images)

"""Recognise weights that were standardised before they were stored: each filter of theirs has the mean 0.

    standardised and rounded once:   |Σ w| ≤ u · Σ |w|           u the unit roundoff of the weight's type
    any other filter of n weights:   |Σ w| ≈ Σ |w| / √n

The two are far apart: for one filter of 500 float32 weights to pass by chance, with the bound that is used, has
a probability of about 10⁻⁵, and all filters of the weight must pass. A scale of the whole filter keeps the
mean; what scales input channels by different numbers does not, so that such a weight is not recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from nfexport.inspection.facts import read

ROUNDOFFS: Mapping[int, tuple[type[np.floating], float]] = {
    onnx.TensorProto.FLOAT: (np.float32, 2.0**-24),
    onnx.TensorProto.FLOAT16: (np.float16, 2.0**-11),
    onnx.TensorProto.DOUBLE: (np.float64, 2.0**-53),
}
"""Type → that of numpy, and its unit roundoff."""

MARGIN = 8
"""Other folders compute in the weight's own type, which costs a few roundings more than one."""


def zero_mean_weights(path: Path, model: onnx.ModelProto, names: set[str]) -> set[str]:
    """Return which of the initializers of that name have filters of mean 0 alone; the weights are read.

    A filter of zeros says nothing; a weight of nothing else is not among them, nor is one outside the file."""
    wanted = {index: tensor for index, tensor in enumerate(model.graph.initializer) if tensor.name in names}
    found: set[str] = set()

    def look(index: int, values: memoryview) -> None:
        if (tensor := wanted.get(index)) is not None and _has_zero_mean(tensor, values):
            found.add(tensor.name)

    read(path, look)
    return found


def _has_zero_mean(tensor: onnx.TensorProto, values: memoryview) -> bool:
    if tensor.data_type not in ROUNDOFFS or len(tensor.dims) < 3 or not tensor.dims[0]:
        return False
    dtype, roundoff = ROUNDOFFS[tensor.data_type]
    filters = np.frombuffer(values, np.dtype(dtype).newbyteorder("<")).reshape(tensor.dims[0], -1)
    # a few filters say no at once, and most weights need no more
    return _passes(filters[:2], roundoff) is not False and _passes(filters, roundoff) is True


def _passes(filters: np.ndarray[tuple[int, int], np.dtype[np.floating]], roundoff: float) -> bool | None:
    """True if all filters that are not zero have the mean 0; None if all are zero."""
    sums = np.abs(filters.sum(axis=1, dtype=np.float64))
    sizes = np.abs(filters).sum(axis=1, dtype=np.float64)
    if not sizes.any():
        return None
    return bool((sums <= MARGIN * roundoff * sizes).all())

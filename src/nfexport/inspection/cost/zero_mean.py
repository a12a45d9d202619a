"""Recognise weights that were standardised before they were stored: each filter of theirs has the mean 0.

    standardised and rounded once:   |Σ w| ≤ u · Σ |w|           u the unit roundoff of the weight's type
    any other filter of n weights:   |Σ w| ≈ Σ |w| / √n

The two are far apart: for one filter of 500 float32 weights to pass by chance, with the bound that is used, has
a probability of about 10⁻⁵, and all filters of the weight must pass. A scale of the whole filter keeps the
mean; what scales input channels by different numbers does not, so that such a weight is not recognised.

Standardised without a gain, each filter has the variance 1 as well, less what eps takes; a gain, times the
1/√n that belongs to it, does not leave it so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx

from nfexport.graph.external_data import external_files, external_values
from nfexport.graph.header import read_header

Filters: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"
"""A row for each filter."""

ROUNDOFFS: Mapping[int, tuple[type[np.floating[Any]], float]] = {
    onnx.TensorProto.FLOAT: (np.float32, 2.0**-24),
    onnx.TensorProto.FLOAT16: (np.float16, 2.0**-11),
    onnx.TensorProto.DOUBLE: (np.float64, 2.0**-24),
}
"""Type → that of numpy, and its unit roundoff; of float64 no more is asked than of float32, as sums round too."""

MARGIN = 8
"""Other folders compute in the weight's own type, which costs a few roundings more than one."""


UNIT = (0.98, 1.001)
"""Between these is the variance of a filter that has no gain: BiT's eps is 1e-8, its weights' variance over 1e-6."""


def zero_mean_weights(path: Path, model: onnx.ModelProto, names: set[str]) -> dict[str, bool]:
    """Return which of the initializers of that name have filters of mean 0 alone, and whether they have a gain;
    the weights are read.

    A filter of zeros says nothing, and a weight of nothing else is not among them.
    Raises OnnxFileError if external data is missing."""
    wanted = {index: tensor for index, tensor in enumerate(model.graph.initializer) if tensor.name in names}
    found: dict[str, bool] = {}

    def look(index: int, values: memoryview) -> None:
        if (tensor := wanted.get(index)) is not None:
            judge(tensor, values)

    def judge(tensor: onnx.TensorProto, values: memoryview) -> None:
        if tensor.data_type not in ROUNDOFFS or len(tensor.dims) < 3 or not tensor.dims[0]:
            return
        dtype, roundoff = ROUNDOFFS[tensor.data_type]
        filters = np.frombuffer(values, np.dtype(dtype).newbyteorder("<")).reshape(tensor.dims[0], -1)
        if _has_zero_mean(filters, roundoff):
            found[tensor.name] = not _has_unit_variance(filters)

    read_header(path, look)
    external_files(path, model)
    for tensor in wanted.values():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            judge(tensor, external_values(path, tensor))
    return found


def _has_zero_mean(filters: Filters, roundoff: float) -> bool:
    # a few filters say no at once, and most weights need no more
    return _passes(filters[:2], roundoff) is not False and _passes(filters, roundoff) is True


def _has_unit_variance(filters: Filters) -> bool:
    variances = np.square(filters.astype(np.float64)).mean(axis=1)
    return bool(UNIT[0] <= variances.min() and variances.max() <= UNIT[1])


def _passes(filters: Filters, roundoff: float) -> bool | None:
    """Say whether all filters that are not zero have the mean 0; None if all are zero."""
    sums = np.abs(filters.sum(axis=1, dtype=np.float64))
    sizes = np.abs(filters).sum(axis=1, dtype=np.float64)
    if not sizes.any():
        return None
    return bool((sums <= MARGIN * roundoff * sizes).all())

"""Weight standardisation by a wrong formula, in a file whose weights are folded.

    right:  w'[o] = k[o] · (w[o] − mean) / sqrt(var + eps),   var biased, eps inside the root

k, the gain and the scale, is found from the folded weight itself by least squares.
Source of the formula: arXiv:2101.08692, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.verification.faults.fault import Fault, set_values
from nfexport.verification.faults.weight_faults import weights_of

Array = NDArray[Any]
Formula = Callable[[Array, float], Array]
"""From raw filters [filters, fan-in] and eps to standardised ones without gain."""


def _standardise(raw: Array, eps: float, *, ddof: int = 0) -> Array:
    centred = raw - raw.mean(1, keepdims=True)
    return np.asarray(centred / np.sqrt(raw.var(1, ddof=ddof, keepdims=True) + eps))


WRONG: dict[str, Formula] = {
    "eps 1e-6 for 1e-5, or the reverse": lambda raw, eps: _standardise(raw, 1e-6 if eps > 2e-6 else 1e-5),
    "eps of 1e-3": lambda raw, eps: _standardise(raw, 1e-3),
    "no eps": lambda raw, eps: _standardise(raw, 0.0),
    "eps outside the root": lambda raw, eps: (raw - raw.mean(1, keepdims=True)) / (raw.std(1, keepdims=True) + eps),
    "unbiased variance": lambda raw, eps: _standardise(raw, eps, ddof=1),
    "mean of the filters not subtracted": lambda raw, eps: raw / np.sqrt(raw.var(1, keepdims=True) + eps),
}


def refolded(model: onnx.ModelProto, raw: Mapping[str, tuple[Array, float]]) -> Iterator[Fault]:
    """Yield a fault for each wrong formula and each weight that raw names.

    raw maps initializers to the weights [filters, …] before standardisation, and their eps."""
    for node, name, _ in weights_of(model):
        if name not in raw:
            continue
        weight, eps = raw[name]
        flat = weight.astype(np.float64).reshape(len(weight), -1)
        if flat.shape[1] < 2:
            continue
        for kind, formula in WRONG.items():
            yield Fault(kind=kind, node=node, change=_refold(name, flat, eps, formula))


def _refold(name: str, raw: Array, eps: float, formula: Formula) -> Callable[[onnx.ModelProto], None]:
    def fold(folded: Array) -> Array:
        right, old = _standardise(raw, eps), folded.astype(np.float64).reshape(raw.shape)
        k = (old * right).sum(1, keepdims=True) / (right * right).sum(1, keepdims=True)
        return np.asarray((k * formula(raw, eps)).reshape(folded.shape))

    return lambda model: set_values(model, name, fold)

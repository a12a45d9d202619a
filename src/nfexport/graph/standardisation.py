"""The formula of weight standardisation, for weights whose layer says how it standardises them.

    w'[o] = gain[o] · scale · (w[o] − mean(w[o])) / sqrt(var(w[o]) + eps)

mean and var run over all axes but the first; var is biased; eps is inside the root.
Source: arXiv:1903.10520, arXiv:2101.08692; timm ≥ 0.4.12, layers/std_conv.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nfexport.graph.libraries import Array, np

_CHUNK = 1 << 16
"""Numbers worked on at a time, so that they stay in the processor's cache and no second copy is held."""


class Standardisation(msgspec.Struct, frozen=True, kw_only=True):
    """How a layer standardises its weight: the name of its gain, if it has one, a factor of it, and eps.

    scale is gamma / sqrt(fan_in), dimensionless; a layer without a gain has none."""

    gain: str | None
    scale: float
    eps: float


def standardise(weight: Array, gain: Array | None, *, scale: float, eps: float) -> Iterator[tuple[slice, Array]]:
    """Yield the standardised weight in float64, a run of output channels at a time, with their slice.

    weight [O, …]; gain has O entries. The constants of the formula are float32, as in the graph that a trace
    of the layer gives; with these steps in this order, both give the same bits."""
    flat = weight.reshape(weight.shape[0], -1)
    factor = None if gain is None else gain.reshape(-1).astype(np.float64) * np.float64(np.float32(scale))
    rows = max(1, _CHUNK // max(1, flat.shape[1]))
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        exact = flat[part].astype(np.float64)[np.newaxis]
        exact -= exact.mean(axis=(0, 2), keepdims=True)
        spread = np.sqrt((exact * exact).mean(axis=(0, 2), keepdims=True) + np.float64(np.float32(eps)))
        exact /= spread
        if factor is not None:
            exact *= factor[part].reshape(1, -1, 1)
        yield part, exact.reshape(-1, *weight.shape[1:])

"""From logits to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probabilities of logits [..., classes], of the same shape, in float64.

        p[c] = exp(z[c] − max z) / Σ_j exp(z[j] − max z)

    Softmax inside a file, and torch's, is in float32. A row with a NaN or an infinity gives NaN."""
    exact = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        powers = np.exp(exact - exact.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

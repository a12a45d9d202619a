"""What the preprocessing in a file stores: factors and offsets in the first layer, and the weights of a resize."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from nfexport.passes.front.preprocessing.resampling import geometry, matrices
from nfexport.verification.accounting.linear_chain import Diag, Reverse, Steps
from nfexport.verification.file_preprocessing import FilePreprocessing


def front_forms(front: FilePreprocessing | None) -> list[Steps]:
    """Return the linear steps that may be folded into the first layer, in the order in which they are done.

    A file may divide by the deviation in the layer and subtract the mean in front of it, or do both in the layer; a
    reversal of the channels may be a node of its own."""
    forms: list[Steps] = [()]
    for step in reversed(() if front is None else front.steps):
        if step.name == "normalize":
            r = float(step.params.get("value_range", 1.0))
            mean, std = (np.asarray(step.params[name], np.float64) for name in ("mean", "std"))
            whole, scale = Diag(1.0 / (r * std), -mean / std), Diag(1.0 / (r * std), np.zeros(()))
            forms += [(*form, diag) for form, diag in itertools.product(forms, (whole, scale))]
        elif step.name == "channels":
            forms += [(*form, Reverse()) for form in forms]
    return [form for form in forms if form]


def front_constants(front: FilePreprocessing | None) -> list[NDArray[np.float64]]:
    """Return the weights of a resize of images of one size."""
    params = None if front is None else front.resizes
    if front is None or params is None or params.get("from_size") is None or front.image_size is None:
        return []
    size = tuple(params["from_size"])
    form = geometry((size[0], size[1]), front.image_size, params["crop_pct"], params["crop_mode"])
    return list(matrices((size[0], size[1]), form, params["interpolation"]))

"""Kernels in float64: brought to fewer groups, put into larger ones, and multiplied.

A kernel is [O, I / groups, k, …] with as many k as the convolution has spatial axes, none for a linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nfexport.graph.libraries import Array, np
from nfexport.passes.folds.branches.windows import Axis
from nfexport.passes.rewrites.merge_groups import merge


def regroup(kernel: Array, groups: int, wanted: int) -> Array:
    """Return the kernel of the same convolution with fewer groups: zeros between the old ones."""
    return kernel if groups == wanted else merge(kernel, groups, groups // wanted)


def enlarge(kernel: Array, old: Sequence[Axis], new: Sequence[Axis]) -> Array:
    """Return the kernel with its taps where they are in larger windows, 0 elsewhere."""
    if tuple(axis[:3:2] for axis in old) == tuple(axis[:3:2] for axis in new):
        return kernel
    result = np.zeros((*kernel.shape[:2], *(axis.kernel for axis in new)), kernel.dtype)
    places = []
    for small, large in zip(old, new, strict=True):
        start, step = (large.begin - small.begin) // large.dilation, max(small.grid // large.dilation, 1)
        places.append(slice(start, start + step * (small.kernel - 1) + 1, step))
    result[(slice(None), slice(None), *places)] = kernel
    return result


def multiply(first: Array, second: Array, groups: int, windows: Sequence[tuple[Axis, Axis, Axis]]) -> Array:
    """Return the kernel of the second convolution after the first, both of them with this many groups.

        w[o, i, t] = Σ_m Σ_{t₁ + t₂ = t} w₂[o, m, t₂] · w₁[m, i, t₁]

    windows holds the first, the second and the resulting window of each axis."""
    between, width = first.shape[:2]
    filters = second.shape[0]
    result = np.zeros((filters, width, *(whole.kernel for *_, whole in windows)))
    left = second.reshape(groups, filters // groups, between // groups, -1)
    right = first.reshape(groups, between // groups, -1)
    taps = tuple(axis.kernel for _, axis, _ in windows)
    for number in range(math.prod(taps)):
        places = []
        for tap, (inner, outer, whole) in zip(np.unravel_index(number, taps), windows, strict=True):
            start = int(tap) * inner.stride * outer.dilation // whole.dilation
            step = max(inner.grid // whole.dilation, 1)
            places.append(slice(start, start + step * (inner.kernel - 1) + 1, step))
        product = left[..., number] @ right
        result[(slice(None), slice(None), *places)] += product.reshape(filters, width, *first.shape[2:])
    return result

"""Pillow's image resizing in numpy: its weights and rounding, and the sizes and crops of timm's transform.

One axis after the other, each result rounded to a whole number in 0..255:

    y[o] = Σ_i w[o,i]·x[i],   w[o,i] ∝ f((i + ½ − c[o]) / s),   c[o] = (o + ½)·in/out,   s = max(in/out, 1)

f is the triangle of bilinear, or the cubic with a = −½. Weights are multiples of 2⁻²², as Pillow holds them.
Which axis comes first decides where the roundings fall: see height_first.
Source: Pillow, src/libImaging/Resample.c (precompute_coeffs, normalize_coeffs_8bpc); torchvision,
transforms/functional.py (_compute_resized_output_size, center_crop).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from nfexport.errors import PassError
from nfexport.graph.libraries import Array, np

FIXED_POINT = 2.0**22
CUBIC = -0.5


def _triangle(x: Array) -> Array:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: Array) -> Array:
    x = np.abs(x)
    near = ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * CUBIC
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


FILTERS: dict[str, tuple[Callable[[Array], Array], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""Each filter with its support in pixels."""


def weights(size: int, out: int, interpolation: str) -> Array:
    """Return the weights [out, size], float64. Raises PassError for an interpolation without a filter here."""
    if interpolation not in FILTERS:
        raise PassError(
            f"images cannot be resized with '{interpolation}' in the graph",
            fix=f"leave out --resize: it knows {' and '.join(FILTERS)}",
        )
    function, support = FILTERS[interpolation]
    if out == size:
        return np.eye(size)
    scale = size / out
    stretch = max(scale, 1.0)
    result = np.zeros((out, size))
    for index in range(out):
        centre = (index + 0.5) * scale
        first = max(int(centre - support * stretch + 0.5), 0)
        last = min(int(centre + support * stretch + 0.5), size)
        row = function((np.arange(first, last) - centre + 0.5) / stretch)
        row = row / row.sum()
        # rounded half away from zero, as Pillow's (int)(±0.5 + w · 2²²)
        result[index, first:last] = np.trunc(row * FIXED_POINT + np.copysign(0.5, row)) / FIXED_POINT
    return result


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of timm's evaluation transform: (height, width) resized to, corner and size of the crop."""

    resized: tuple[int, int]
    corner: tuple[int, int]
    crop: tuple[int, int]


def target_size(size: tuple[int, int], crop_pct: float, crop_mode: str) -> tuple[int, int]:
    """Return (height, width) that timm resizes to before it crops: for 'center' the shorter side's, twice.

    Raises PassError for a transform that is not done in the graph."""
    if crop_mode not in ("center", "squash"):
        raise PassError(f"the crop mode '{crop_mode}' is not done in the graph", fix="leave out --resize")
    if crop_mode == "center" and size[0] != size[1]:
        raise PassError(
            f"images of {size[0]}×{size[1]} are not square, and such a crop is not supported in the graph",
            fix="leave out --resize, or pass a square --image-size",
        )
    if not 0 < crop_pct <= 1:
        raise PassError(f"a crop of {crop_pct:g} of the image is larger than it", fix="leave out --resize")
    return math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct)


def geometry(image: tuple[int, int], size: tuple[int, int], crop_pct: float, crop_mode: str) -> Geometry:
    """Return the sizes for an image of (height, width), in whole numbers as torchvision computes them."""
    target = target_size(size, crop_pct, crop_mode)
    if crop_mode == "center":
        shorter = min(image)
        resized = (target[0] * image[0] // shorter, target[0] * image[1] // shorter)
    else:
        resized = target
    corner = (_half(resized[0] - size[0]), _half(resized[1] - size[1]))
    return Geometry(resized=resized, corner=corner, crop=size)


def _half(spare: int) -> int:
    """Half of what is cut away, rounded half to even as Python's round does."""
    return round(spare / 2.0)


def height_first(image: tuple[int, int], resized: tuple[int, int]) -> bool:
    """Return whether Pillow, from 13 on, resizes the height before the width: if the height becomes smaller, and
    loses more than twice as many pixels as the width. Before 13 the width always came first.

    Found by comparing both orders with Pillow 13.0 on 2,396 random sizes that tell them apart: no exception."""
    (height, width), (to_height, to_width) = image, resized
    return to_height < height and height - to_height > 2 * (width - to_width)


def matrices(image: tuple[int, int], form: Geometry, interpolation: str) -> tuple[Array, Array]:
    """Return the weights of the rows and columns that stay after the crop: [crop, image] for each axis."""
    axes = []
    for size, resized, corner, crop in zip(image, form.resized, form.corner, form.crop, strict=True):
        axes.append(weights(size, resized, interpolation)[corner : corner + crop])
    return axes[0], axes[1]


def to_bytes(values: Array, nudge: float = 0.0) -> Array:
    """Round half up and clip to 0..255, in the values' own type; nudge moves what counts as half."""
    return np.asarray(np.clip(np.floor(values + values.dtype.type(0.5 + nudge)), 0, 255))


def resample(
    images: Array,
    size: tuple[int, int],
    *,
    crop_pct: float,
    crop_mode: str,
    interpolation: str,
    nudge: float = 0.0,
    width_first: bool = False,
) -> Array:
    """Return timm's evaluation transform of images [batch, channels, height, width] in 0..255, in their type.

    nudge, in 0..255, is added before each rounding: it shows which pixels hang on the last digits. width_first
    asks for that order, whatever Pillow does: the order of the graph for images of any size."""
    image = (images.shape[2], images.shape[3])
    form = geometry(image, size, crop_pct, crop_mode)
    rows, columns = (weights.astype(images.dtype) for weights in matrices(image, form, interpolation))
    if not width_first and height_first(image, form.resized):
        return to_bytes(to_bytes(rows @ images, nudge) @ columns.T, nudge)
    return to_bytes(rows @ to_bytes(images @ columns.T, nudge), nudge)

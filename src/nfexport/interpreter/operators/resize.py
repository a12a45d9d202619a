"""Resize and Upsample: one axis at a time, as a product with a matrix of the weights of each output position.

The weights are computed in float64 from the file's scales and sizes; the forms are those of the specification and of
onnx's reference (modes nearest, linear and cubic, antialias, exclude_outside, each coordinate transformation).
"""

from __future__ import annotations

import math
from typing import Any

from nfexport.graph.libraries import np
from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch


@operator("Upsample", since=7)
def _upsample_by_attribute(call: OperatorCall, x: Tensor) -> Tensor:
    return _resized(call, x, list(range(x.dim())), call.numbers("scales"), None, None, True)


@operator("Upsample", since=9)
def _upsample(call: OperatorCall, x: Tensor, scales: Tensor) -> Tensor:
    return _resized(call, x, list(range(x.dim())), scales.tolist(), None, None, True)


@operator("Resize", since=10)
def _resize_of_opset_10(call: OperatorCall, x: Tensor, scales: Tensor) -> Tensor:
    return _resized(call, x, list(range(x.dim())), scales.tolist(), None, None, True)


@operator("Resize", since=11)
def _resize(
    call: OperatorCall,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """scales and sizes exclude each other; roi, the cut-out, is for tf_crop_and_resize alone."""
    axes = [axis % x.dim() for axis in call.integers("axes") or range(x.dim())]
    factors = scales.tolist() if scales is not None and scales.numel() else None
    wanted = ints(sizes) if sizes is not None and sizes.numel() else None
    region = roi.tolist() if roi is not None and roi.numel() else None
    return _resized(call, x, axes, factors, wanted, region, False)


def _resized(
    call: OperatorCall,
    x: Tensor,
    axes: list[int],
    scales: list[float] | None,
    sizes: list[int] | None,
    roi: list[float] | None,
    old: bool,
) -> Tensor:
    """old are the forms up to opset 10: positions as they are, and the nearest one below."""
    transformation = call.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = call.text("nearest_mode", "floor" if old else "round_prefer_floor")
    lengths = [x.shape[axis] for axis in axes]
    if sizes is not None:
        scales = [size / length for size, length in zip(sizes, lengths, strict=True)]
        policy = call.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            scale = min(scales) if policy == "not_larger" else max(scales)
            scales, sizes = [scale] * len(axes), [math.floor(scale * length + 0.5) for length in lengths]
    elif scales is not None:
        sizes = [math.floor(length * scale) for length, scale in zip(lengths, scales, strict=True)]
    else:
        raise call.refuse("neither scales nor sizes")
    dtype = x.dtype
    for i, (axis, length, scale, size) in enumerate(zip(axes, lengths, scales, sizes, strict=True)):
        cut = (0.0, 1.0) if roi is None else (roi[i], roi[i + len(axes)])
        if scale == 1 and size == length and (transformation != "tf_crop_and_resize" or cut == (0.0, 1.0)):
            continue
        places = _places(transformation, length, size, scale, cut)
        x = _along(call, x, axis, places, scale, rounding)
        if transformation == "tf_crop_and_resize":
            x = _extrapolated(call, x, axis, places, length)
    return x if x.dtype == dtype else x.round().to(dtype)


def _places(transformation: str, length: int, size: int, scale: float, roi: tuple[float, float]) -> Any:
    """Return where each output position lies among the input's, float64 [size]."""
    out, width = np.arange(size, dtype=np.float64), scale * length
    if transformation == "asymmetric":
        return out / scale
    if transformation == "align_corners":
        return np.zeros(size) if width == 1 else out * (length - 1) / (width - 1)
    if transformation == "tf_crop_and_resize":
        start, end = roi
        if size == 1:
            return np.full(1, (start + end) * (length - 1) / 2)
        return start * (length - 1) + out * (end - start) * (length - 1) / (width - 1)
    if transformation == "pytorch_half_pixel" and size == 1:
        return np.full(1, -0.5)
    if transformation == "tf_half_pixel_for_nn":
        return (out + 0.5) / scale
    if transformation == "half_pixel_symmetric":
        return length / 2 * (1 - size / width) + (out + 0.5) / scale - 0.5
    return (out + 0.5) / scale - 0.5


def _along(call: OperatorCall, x: Tensor, axis: int, places: Any, scale: float, rounding: str) -> Tensor:
    """Return x with one axis resized."""
    mode, length = call.text("mode", "nearest"), x.shape[axis]
    if mode == "nearest":
        nearest = np.clip(_nearest(rounding, places), 0, length - 1)
        return x.index_select(axis, torch.from_numpy(nearest.astype(np.int64)))
    matrix = torch.from_numpy(_weights(call, mode, length, places, scale))
    work = x if x.is_floating_point() else x.double()
    return torch.matmul(work.movedim(axis, -1), matrix.to(work.dtype).t()).movedim(-1, axis)


def _extrapolated(call: OperatorCall, x: Tensor, axis: int, places: Any, length: int) -> Tensor:
    """Put extrapolation_value where a cut-out leaves the image."""
    inside = torch.from_numpy((places >= 0) & (places <= length - 1)).reshape(-1, *[1] * (x.dim() - 1 - axis))
    return torch.where(inside, x, torch.full_like(x, call.number("extrapolation_value")))


def _nearest(rounding: str, places: Any) -> Any:
    if rounding == "floor":
        return np.floor(places)
    if rounding == "ceil":
        return np.ceil(places)
    return np.floor(places + 0.5) if rounding == "round_prefer_ceil" else np.ceil(places - 0.5)


def _weights(call: OperatorCall, mode: str, length: int, places: Any, scale: float) -> Any:
    """Return the weight of each input for each output, float64 [size, length]; the rows add up to 1.

    Positions outside have the weight of the border, or with exclude_outside none. antialias stretches the filter by
    1 / scale where the axis shrinks."""
    stretch = min(scale, 1.0) if call.integer("antialias") else 1.0
    coefficient = call.number("cubic_coeff_a", -0.75)
    reach = math.ceil((1 if mode == "linear" else 2) / stretch)
    first = np.floor(places).astype(np.int64) - reach
    taps = first[:, None] + np.arange(2 * reach + 2)
    distance = np.abs(places[:, None] - taps) * stretch
    weights = np.maximum(0.0, 1.0 - distance) if mode == "linear" else _cubic(distance, coefficient)
    outside = (taps < 0) | (taps >= length)
    if call.integer("exclude_outside"):
        weights = np.where(outside, 0.0, weights)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(places), length))
    np.add.at(matrix, (np.arange(len(places))[:, None], np.clip(taps, 0, length - 1)), weights)
    return matrix


def _cubic(distance: Any, a: float) -> Any:
    """Keys' kernel: (a + 2)d³ − (a + 3)d² + 1 up to 1, a·d³ − 5a·d² + 8a·d − 4a up to 2.

    Source: R. Keys, IEEE Transactions on Acoustics, Speech, and Signal Processing 29 (1981), 1153."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))

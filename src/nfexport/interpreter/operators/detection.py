"""Operators of detectors: boxes, regions, sampling grids."""

from __future__ import annotations

import math
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("GridSample", since=16)
def _grid_sample(call: OperatorCall, x: Tensor, grid: Tensor) -> Tensor:
    """torch's own function, which the operator was made from; opset 20 has renamed bilinear and bicubic."""
    mode = call.text("mode", "bilinear")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    padding, aligned = call.text("padding_mode", "zeros"), bool(call.integer("align_corners"))
    return F.grid_sample(x, grid, mode, padding, aligned)


@operator("AffineGrid", since=20)
def _affine_grid(call: OperatorCall, theta: Tensor, size: Tensor) -> Tensor:
    return F.affine_grid(theta, ints(size), bool(call.integer("align_corners")))


@operator("NonMaxSuppression", since=10)
def _non_max_suppression(
    call: OperatorCall,
    boxes: Tensor,
    scores: Tensor,
    most: Tensor | None = None,
    overlap: Tensor | None = None,
    least: Tensor | None = None,
) -> Tensor:
    """boxes [batch, n, 4], scores [batch, classes, n]; returns [selected, 3]: batch, class, box, best first."""
    limit = 0 if most is None else int(most)
    threshold = 0.0 if overlap is None else float(overlap)
    chosen: list[list[int]] = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch], bool(call.integer("center_point_box")))
        for kind in range(scores.shape[1]):
            row = scores[batch, kind]
            kept: list[int] = []
            for box in torch.argsort(row, descending=True, stable=True).tolist():
                if len(kept) >= limit or (least is not None and float(row[box]) <= float(least)):
                    break
                if all(_overlap(corners[box], corners[other]) <= threshold for other in kept):
                    kept.append(box)
            chosen += [[batch, kind, box] for box in kept]
    return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 3)


def _corners(boxes: Tensor, centred: bool) -> list[list[float]]:
    """Return the lower and the upper corner of each box."""
    if centred:
        x, y, w, h = boxes.unbind(-1)
        boxes = torch.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    low, high = torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])
    found: list[list[float]] = torch.cat([low, high], 1).tolist()
    return found


def _overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union."""
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    shared = math.prod(sides)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared) if shared > 0 else 0.0


@operator("RoiAlign", since=10)
def _roi_align(call: OperatorCall, x: Tensor, rois: Tensor, batches: Tensor) -> Tensor:
    """Sample each region [x1, y1, x2, y2] on a regular grid, and reduce the samples of each output position."""
    height, width = call.integer("output_height", 1), call.integer("output_width", 1)
    default = "half_pixel" if call.version >= 16 else "output_half_pixel"
    shifted = call.text("coordinate_transformation_mode", default) == "half_pixel"
    scale, ratio = call.number("spatial_scale", 1.0), call.integer("sampling_ratio")
    results = []
    for roi, batch in zip(rois, ints(batches), strict=True):
        left, top, right, bottom = (roi * scale - (0.5 if shifted else 0.0)).unbind()
        spans = [bottom - top, right - left]
        spans = spans if shifted else [span.clamp(min=1) for span in spans]
        axes, counts = [], []
        for start, span, cells in ((top, spans[0], height), (left, spans[1], width)):
            count = ratio if ratio > 0 else math.ceil(float(span) / cells)
            steps = torch.arange(cells * count, dtype=torch.float64)
            axes.append(start + (steps + 0.5).to(x.dtype) * span / (cells * count))
            counts.append(count)
        pieces = _corner_values(x[batch], *axes)
        results.append(_reduced(call, pieces, (height, width), counts))
    return torch.stack(results) if results else torch.zeros((0, x.shape[1], height, width), dtype=x.dtype)


def _corner_values(image: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """Return what the four neighbours contribute to each sample [4, C, rows, columns]; 0 outside the image."""
    low, high, part, inside = [], [], [], []
    for places, size in ((ys, image.shape[1]), (xs, image.shape[2])):
        inside.append((places >= -1) & (places <= size))
        held = places.clamp(min=0)
        first = held.floor().long().clamp(max=size - 1)
        low.append(first)
        high.append((first + 1).clamp(max=size - 1))
        part.append(torch.where(held.floor() >= size - 1, torch.zeros_like(held), held - held.floor()))
    seen = inside[0].reshape(-1, 1) & inside[1]
    rows, columns = ((low[0], 1 - part[0]), (high[0], part[0])), ((low[1], 1 - part[1]), (high[1], part[1]))
    return torch.stack(
        [image[:, r][:, :, c] * (wr.reshape(-1, 1) * wc) * seen for r, wr in rows for c, wc in columns]
    )


def _reduced(call: OperatorCall, pieces: Tensor, cells: tuple[int, int], counts: list[int]) -> Tensor:
    """Average the samples of each cell, or take the largest contribution, as ONNX Runtime does."""
    pieces = pieces.reshape(4, -1, cells[0], counts[0], cells[1], counts[1])
    if call.text("mode", "avg") == "max":
        return pieces.amax((0, 3, 5))
    return pieces.sum(0).mean((2, 4))


@operator("CenterCropPad", since=18)
def _center_crop_pad(call: OperatorCall, x: Tensor, shape: Tensor) -> Any:
    axes = call.integers("axes") or list(range(x.dim()))
    for axis, wanted in zip((axis % x.dim() for axis in axes), ints(shape), strict=True):
        have = x.shape[axis]
        if have > wanted:
            x = x.narrow(axis, (have - wanted) // 2, wanted)
        amounts = [0, 0] * (x.dim() - 1 - axis) + [(wanted - have) // 2, wanted - have - (wanted - have) // 2]
        x = F.pad(x, amounts) if have < wanted else x
    return x

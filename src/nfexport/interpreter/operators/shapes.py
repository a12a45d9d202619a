"""Operators that move elements, and change none."""

from __future__ import annotations

import itertools
import math
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("Identity")
def _identity(call: OperatorCall, x: Any) -> Any:
    return x


@operator("Dropout", since=7)
def _dropout(call: OperatorCall, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    """x itself, as at inference; the mask is true everywhere."""
    if training is not None and bool(training) and (ratio is None or float(ratio) != 0):
        raise call.refuse("training_mode = 1, whose result is random")
    return (x, torch.ones(x.shape, dtype=torch.bool)) if call.wants(1) else x


@operator("Reshape", since=5)
def _reshape(call: OperatorCall, x: Tensor, shape: Tensor) -> Tensor:
    """0 keeps the size of an axis, unless allowzero."""
    sizes = ints(shape)
    if not call.integer("allowzero"):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if -1 in sizes and x.numel() == 0:
        known = math.prod(size for size in sizes if size != -1)
        sizes = [0 if size == -1 and known else size for size in sizes]
    return x.reshape(sizes)


@operator("Flatten")
def _flatten(call: OperatorCall, x: Tensor) -> Tensor:
    axis = call.integer("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def _transpose(call: OperatorCall, x: Tensor) -> Tensor:
    return x.permute(call.integers("perm") or list(reversed(range(x.dim()))))


@operator("Squeeze")
def _squeeze(call: OperatorCall, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = call.integers("axes") if axes is None else ints(axes)
    return x.squeeze() if given is None else x.squeeze(given)


@operator("Unsqueeze")
def _unsqueeze(call: OperatorCall, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """axes, those of the result, are an attribute up to opset 12."""
    given = (call.integers("axes") or []) if axes is None else ints(axes)
    rank = x.dim() + len(given)
    for axis in sorted(axis % rank for axis in given):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(call: OperatorCall, *given: Tensor) -> Tensor:
    return torch.cat(given, call.integer("axis", 1))


@operator("Split")
def _split(call: OperatorCall, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Without sizes the parts are equal, the last one smaller if they do not divide."""
    axis = call.integer("axis")
    given = call.integers("split") if sizes is None else ints(sizes)
    if given is not None:
        return tuple(torch.split(x, given, axis))
    count = call.integer("num_outputs", len(call.node.outputs))
    length = -(-x.shape[axis] // count)
    ends = [min(length * part, x.shape[axis]) for part in range(count + 1)]
    return tuple(x.narrow(axis, a, b - a) for a, b in itertools.pairwise(ends))


@operator("Slice")
def _slice_by_attributes(call: OperatorCall, x: Tensor) -> Tensor:
    starts, ends = call.integers("starts") or [], call.integers("ends") or []
    return _sliced(x, starts, ends, call.integers("axes"), None)


@operator("Slice", since=10)
def _slice(
    call: OperatorCall,
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    given = (None if axes is None else ints(axes), None if steps is None else ints(steps))
    return _sliced(x, ints(starts), ints(ends), *given)


def _sliced(x: Tensor, starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None) -> Tensor:
    """Cut as Python's slices do, out of range included."""
    parts = zip(starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True)
    for start, end, axis, step in parts:
        first, last, by = slice(start, end, step).indices(x.shape[axis])
        if by > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(first, max(first, last), by),)]
        else:
            x = x.index_select(axis, torch.tensor(list(range(first, last, by)), dtype=torch.int64))
    return x


@operator("Expand", since=8)
def _expand(call: OperatorCall, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(_common_shape(list(x.shape), ints(shape)))


def _common_shape(a: list[int], b: list[int]) -> list[int]:
    """Return the shape that two shapes are broadcast to; a size of 1 gives way to any other, 0 included."""
    rank = max(len(a), len(b))
    padded = zip([1] * (rank - len(a)) + a, [1] * (rank - len(b)) + b, strict=True)
    return [m if n == 1 else n for n, m in padded]


@operator("Tile", since=6)
def _tile(call: OperatorCall, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(ints(repeats))


@operator("Shape")
def _shape(call: OperatorCall, x: Tensor) -> Tensor:
    start, end = call.integer("start"), call.integer("end", x.dim())
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


@operator("Size")
def _size(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("DepthToSpace")
def _depth_to_space(call: OperatorCall, x: Tensor) -> Tensor:
    """DCR takes the blocks from the outer part of the channels, CRD from the inner one."""
    b, (n, c, h, w) = call.integer("blocksize"), x.shape
    if call.text("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def _space_to_depth(call: OperatorCall, x: Tensor) -> Tensor:
    b, (n, c, h, w) = call.integer("blocksize"), x.shape
    parts = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 1, 3, 5, 2, 4) if call.text("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return parts.permute(*order).reshape(n, c * b * b, h // b, w // b)


@operator("Trilu", since=14)
def _trilu(call: OperatorCall, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return torch.triu(x, diagonal) if call.integer("upper", 1) else torch.tril(x, diagonal)


@operator("ReverseSequence", since=10)
def _reverse_sequence(call: OperatorCall, x: Tensor, lengths: Tensor) -> Tensor:
    """Each entry of the batch is reversed up to its own length."""
    batch, time = call.integer("batch_axis", 1), call.integer("time_axis", 0)
    steps = torch.arange(x.shape[time])
    until = lengths.reshape(-1, 1)
    order = torch.where(steps < until, until - 1 - steps, steps)  # [batch, time]
    shape = [x.shape[axis] if axis in (batch, time) else 1 for axis in range(x.dim())]
    order = (order if batch < time else order.t()).reshape(shape)
    return x.gather(time, order.expand(x.shape))


@operator("Col2Im", since=18)
def _col2im(call: OperatorCall, x: Tensor, image: Tensor, block: Tensor) -> Tensor:
    """Add blocks [N, C · k1 · k2, L] up to the image that they were cut from."""
    if image.numel() != 2:
        raise call.refuse(f"{image.numel()} spatial axes")
    size, kernel = ints(image), tuple(ints(block))
    pads = call.integers("pads") or [0] * 4
    whole = (size[0] + pads[0] + pads[2], size[1] + pads[1] + pads[3])
    dilations, strides = (tuple(call.integers(name) or [1, 1]) for name in ("dilations", "strides"))
    y = F.fold(x, whole, kernel, dilations, 0, strides)
    return y[:, :, pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]]

"""Operators that pick and place elements by their positions."""

from __future__ import annotations

import math
from typing import Any

from nfexport.interpreter.operator_call import OperatorCall, ints
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch

_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _wrapped(indices: Tensor, size: int) -> Tensor:
    """Count negative positions from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


@operator("Gather")
def _gather(call: OperatorCall, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.integer("axis") % x.dim()
    picked = x.index_select(axis, _wrapped(indices, x.shape[axis]).reshape(-1))
    return picked.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@operator("GatherElements", since=11)
def _gather_elements(call: OperatorCall, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.integer("axis") % x.dim()
    return x.gather(axis, _wrapped(indices, x.shape[axis]))


@operator("GatherND", since=11)
def _gather_nd(call: OperatorCall, x: Tensor, indices: Tensor) -> Tensor:
    """The last axis of the indices holds a position along the axes that follow the batch."""
    batch, depth = call.integer("batch_dims"), indices.shape[-1]
    entries, sizes = math.prod(x.shape[:batch]), x.shape[batch : batch + depth]
    places = [_wrapped(part, size) for part, size in zip(indices.unbind(-1), sizes, strict=True)]
    if batch:
        first = torch.arange(entries).reshape(*x.shape[:batch], *[1] * (indices.dim() - 1 - batch))
        places = [first.expand(indices.shape[:-1]), *places]
        x = x.reshape(entries, *x.shape[batch:])
    return x[tuple(places)]


@operator("Scatter", "ScatterElements", since=9)
def _scatter_elements(call: OperatorCall, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis, reduction = call.integer("axis") % x.dim(), call.text("reduction", "none")
    places = _wrapped(indices, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, places, updates)
    return x.scatter_reduce(axis, places, updates, _REDUCE[reduction], include_self=True)


@operator("ScatterND", since=11)
def _scatter_nd(call: OperatorCall, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth, reduction = indices.shape[-1], call.text("reduction", "none")
    sizes, rest = x.shape[:depth], math.prod(x.shape[depth:])
    rows = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for part, size in zip(indices.unbind(-1), sizes, strict=True):
        rows = rows * size + _wrapped(part, size)
    flat, new = x.reshape(math.prod(sizes), rest), updates.reshape(-1, rest)
    places = rows.reshape(-1)
    if reduction == "none":
        return flat.index_copy(0, places, new).reshape(x.shape)
    where = places.reshape(-1, 1).expand(new.shape)
    return flat.scatter_reduce(0, where, new, _REDUCE[reduction], include_self=True).reshape(x.shape)


@operator("TensorScatter", since=24)
def _tensor_scatter(call: OperatorCall, past: Tensor, update: Tensor, starts: Tensor | None = None) -> Tensor:
    """Write a piece of a sequence into each entry of a cache, from its own position on."""
    axis, circular = call.integer("axis", -2) % past.dim(), call.text("mode", "linear") == "circular"
    result = past.clone()
    for entry in range(past.shape[0]):
        places = torch.arange(update.shape[axis]) + (0 if starts is None else int(starts[entry]))
        places = places % past.shape[axis] if circular else places
        result[entry] = result[entry].index_copy(axis - 1, places, update[entry])
    return result


@operator("OneHot", since=9)
def _one_hot(call: OperatorCall, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """Positions outside −depth … depth − 1 give no element that is on."""
    (count,), axis = ints(depth), call.integer("axis", -1)
    axis = axis % (indices.dim() + 1)
    places = _wrapped(indices, count).unsqueeze(axis)
    classes = torch.arange(count).reshape(-1, *[1] * (indices.dim() - axis))
    return torch.where(places == classes, values[1], values[0])


@operator("NonZero", since=9)
def _non_zero(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.nonzero(x.reshape(1) if x.dim() == 0 else x).t()


@operator("Compress", since=9)
def _compress(call: OperatorCall, x: Tensor, condition: Tensor) -> Tensor:
    places = torch.nonzero(condition).reshape(-1)
    return x.index_select(call.integer("axis"), places) if call.has("axis") else x.reshape(-1)[places]


@operator("TopK")
def _top_k(call: OperatorCall, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Of equal elements the first comes first."""
    axis, count = call.integer("axis", -1), call.integer("k") if k is None else ints(k)[0]
    found = torch.sort(x, dim=axis, descending=bool(call.integer("largest", 1)), stable=True)
    return found.values.narrow(axis, 0, count), found.indices.narrow(axis, 0, count)


@operator("Unique", since=11)
def _unique(call: OperatorCall, x: Tensor) -> Any:
    """The different slices, sorted or in the order in which they first appear; first positions, inverse, counts."""
    axis = call.integer("axis") if call.has("axis") else None
    values, inverse, counts = torch.unique(x, True, True, True, axis)
    inverse, dim = inverse.reshape(-1), 0 if axis is None else axis % x.dim()
    first = torch.full((len(counts),), len(inverse)).scatter_reduce(0, inverse, torch.arange(len(inverse)), "amin")
    if not call.integer("sorted", 1):
        order = torch.argsort(first)
        values, first, counts = values.index_select(dim, order), first[order], counts[order]
        inverse = torch.argsort(order)[inverse]
    return values, first, inverse, counts

"""Where a Reshape or a Flatten leaves the batch, and what a target that names it shall name instead.

    Reshape(x, [B, 50, 192])  →  Reshape(x, [−1, 50, 192]), or 0 (as in x) or the new size in the place of B

The batch keeps an axis if the sizes before it have the same product as in x: its entries then stay next to each
other. The axis may be merged with later ones ([B·windows, 7, 7, C]), and parted from them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.interface.propagation import size_vectors
from nfexport.passes.interface.propagation.axis_rules import first_batch_axis
from nfexport.passes.interface.propagation.constants import set_sizes
from nfexport.passes.interface.propagation.walk import BatchAxis, Dim, Rule, Walk


def reshape(walk: Walk, node: ir.Node) -> BatchAxis:
    """Find the batch again behind a Reshape, and rewrite the sizes in its target."""
    place, dims, content = walk.batch_axis(node, 0), walk.dims(node), walk.content(node, 1)
    if place is None or content is None:
        walk.refuse(node, "reshapes to sizes that are not known")
    keeps_zeros = bool(node.attributes.get_int("allowzero", 0))
    target = content[0].reshape(-1)
    factors = size_vectors.multiples(content, walk.batches)
    if factors is None or (keeps_zeros and 0 in target):
        walk.refuse(node, "reshapes to sizes that are no multiples of the batch")
    old = _resolved(node, dims, target)
    following = [axis for axis, factor in enumerate(factors) if factor is not None]
    axes = following or _places(walk, dims, place, old)
    if len(following) > 1 or not axes or _product(old[: axes[0]]) != _product(dims[: place.axis]):
        walk.refuse(node, f"reshapes {_shown(dims)} to {_shown(old)}, in which the batch has no axis of its own")
    axis = axes[0]
    if not keeps_zeros and axis != place.axis < len(target) and target[place.axis] == 0:
        walk.refuse(node, f"reshapes {_shown(dims)} to {_shown(old)}, in which the batch has two axes")
    if following:
        return BatchAxis(axis, factors[axis])
    size = old[axis]
    same_place = axis == place.axis and (target[axis] == 0 or size == dims[axis])
    times = place.times if same_place else size // walk.old if isinstance(size, int) else None
    if target[axis] == -1 or (target[axis] == 0 and axis == place.axis):
        return BatchAxis(axis, times)
    elements = [None if np.isnan(element) else int(element) for element in target]
    if walk.new is not None and times is not None:
        elements[axis] = walk.new * times
    elif same_place and not keeps_zeros:
        elements[axis] = 0
    else:
        # one size alone may be left open
        elements = [old[i] if e == -1 else e for i, e in enumerate(elements)]  # type: ignore[misc]
        elements[axis] = -1
    if not all(isinstance(element, int) for element in elements):
        walk.refuse(node, f"reshapes to {_shown(old)}, of which more than the batch is open")
    set_sizes(walk, node, 1, [element for element in elements if element is not None])
    return BatchAxis(axis, times)


def flatten(walk: Walk, node: ir.Node) -> BatchAxis:
    """Keep the batch as the axis in front of the one that is flattened."""
    place, dims = first_batch_axis(walk, node), walk.dims(node)
    axis = node.attributes.get_int("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis
    start, end = (0, axis) if place.axis < axis else (axis, len(dims))
    behind = _product(dims[place.axis + 1 : end])
    if _product(dims[start : place.axis]) != (1, ()):
        walk.refuse(node, f"flattens {_shown(dims)} in a way that parts the entries of the batch")
    times = None if place.times is None or behind[1] else place.times * behind[0]
    return BatchAxis(0 if place.axis < axis else 1, times)


def _resolved(node: ir.Node, dims: Sequence[Dim], target: Array) -> list[Dim]:
    """Return the sizes that a Reshape gives, as far as they are known."""
    output = node.outputs[0].shape
    resolved: list[Dim] = [
        dims[axis] if element == 0 else f"{node.name}:{axis}" if np.isnan(element) or element < 0 else int(element)
        for axis, element in enumerate(target)
    ]
    for axis in np.flatnonzero(target == -1):
        whole, others = _product(dims), _product([dim for i, dim in enumerate(resolved) if i != axis])
        if whole[1] == others[1] and others[0]:
            resolved[axis] = whole[0] // others[0]
        elif output is not None and isinstance(size := output[int(axis)], int):
            resolved[axis] = size
    return resolved


def _places(walk: Walk, dims: Sequence[Dim], place: BatchAxis, old: Sequence[Dim]) -> list[int]:
    """Return the axes that may hold the batch, the best first: the one where it was, if nothing changed there."""
    before = _product(dims[: place.axis])
    found = [
        axis
        for axis, dim in enumerate(old)
        if _product(old[:axis]) == before and (not isinstance(dim, int) or dim % walk.old == 0)
    ]
    stays = list(old[: place.axis + 1]) == list(dims[: place.axis + 1])
    return [place.axis] if stays else found


def _product(dims: Sequence[Dim]) -> tuple[int, tuple[str, ...]]:
    numbers = [dim for dim in dims if isinstance(dim, int)]
    return math.prod(numbers), tuple(sorted(dim for dim in dims if isinstance(dim, str)))


def _shown(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(str(dim) if isinstance(dim, int) else '?' for dim in dims)}]"


RULES: dict[str, Rule] = {"Reshape": reshape, "Flatten": flatten}

"""The operators that name sizes: where the batch lies in their result, and what they shall name instead.

Expand(x, [B, 4, 8])                →  Expand(x, [1, 4, 8])             the batch is in x already
Concat(constant [B, 1, C], x)       →  Concat(Expand(constant [1, 1, C], [dim(x, 0), 1, 1]), x)
Resize(x, sizes [B, C, H, W])       →  Resize(x, sizes Concat(dim(x, 0), [C, H, W]))
Slice(x, ends [B])                  →  Slice(x, ends [2^31 − 1])        all entries, whatever their number
"""

from __future__ import annotations

from nfexport.graph.libraries import ir, np
from nfexport.passes.interface.propagation import size_vectors
from nfexport.passes.interface.propagation.axis_rules import first_batch_axis
from nfexport.passes.interface.propagation.constants import set_sizes, size_vector
from nfexport.passes.interface.propagation.walk import BatchAxis, Rule, Walk

ROI_SINCE = 11
"""The opset from which the scales of Resize come third, behind a region of interest."""

_ALL = 2**31 - 1
"""An end of a Slice from here on means: as far as it goes."""


def expand(walk: Walk, node: ir.Node) -> BatchAxis:
    """Follow the batch through an Expand, and rewrite the size in its target."""
    place, dims, content = walk.batch_axis(node, 0), walk.dims(node), walk.content(node, 1)
    factors = None if content is None else size_vectors.multiples(content, walk.batches)
    if content is None or factors is None:
        walk.refuse(node, "expands to sizes that are not known")
    rank = max(len(dims), len(factors))
    following = [axis + rank - len(factors) for axis, factor in enumerate(factors) if factor is not None]
    if place is None:
        own = following[0] - rank + len(dims)
        if len(following) > 1 or (own >= 0 and dims[own] != 1):
            walk.refuse(node, "expands another axis than one of size 1 to that of the batch")
        return BatchAxis(following[0], factors[following[0] - rank + len(factors)])
    axis = place.axis + rank - len(dims)
    at = axis - rank + len(factors)
    if following not in ([], [axis]) or (following and factors[at] != place.times):
        walk.refuse(node, "expands to the size of the batch in another place")
    if not following and at >= 0 and content[0][at] != 1:
        target = walk.integers(node, 1)
        if target is None or place.times is None or target[at] != walk.old * place.times:
            walk.refuse(node, f"expands the axis of the batch to {content[0][at]:g}")
        set_sizes(walk, node, 1, [1 if i == at else element for i, element in enumerate(target)])
    return BatchAxis(axis, place.times)


def tile(walk: Walk, node: ir.Node) -> BatchAxis:
    """Follow the batch through a Tile, and rewrite how often it repeats."""
    place, dims, content = walk.batch_axis(node, 0), walk.dims(node), walk.content(node, 1)
    factors = None if content is None else size_vectors.multiples(content, walk.batches)
    if content is None or factors is None:
        walk.refuse(node, "repeats by numbers that are not known")
    following = [axis for axis, factor in enumerate(factors) if factor is not None]
    if place is None:
        if len(following) > 1 or dims[following[0]] != 1:
            walk.refuse(node, "repeats another axis than one of size 1 by the size of the batch")
        return BatchAxis(following[0], factors[following[0]])
    if following or content[0][place.axis] != 1:
        walk.refuse(node, "repeats the entries of the batch")
    return place


def constant_of_shape(walk: Walk, node: ir.Node) -> BatchAxis:
    """Rewrite the batch in the shape of a constant."""
    content = walk.content(node, 0)
    factors = None if content is None else size_vectors.multiples(content, walk.batches)
    following = [axis for axis, factor in enumerate(factors or []) if factor is not None]
    if factors is None or len(following) != 1:
        walk.refuse(node, "fills a shape that is not known")
    return BatchAxis(following[0], factors[following[0]])


def sliced(walk: Walk, node: ir.Node) -> BatchAxis:
    """Follow the batch through a Slice of other axes, or of the whole batch."""
    place = first_batch_axis(walk, node)
    rank = len(walk.dims(node))
    starts, axes = walk.attributed(node, "starts", 1), walk.attributed(node, "axes", 3)
    given = node.attributes.get_ints("ends", None)
    ends = walk.content(node, 2) if given is None else (np.array(given),) * len(walk.batches)
    has_axes = "axes" in node.attributes or (len(node.inputs) > 3 and node.inputs[3] is not None)
    if axes is None and has_axes:
        walk.refuse(node, "cuts along axes that are not known")
    where = [axis % rank for axis in axes] if axes is not None else list(range(rank))
    at = where.index(place.axis) if place.axis in where else None
    factors = None if ends is None else size_vectors.multiples(ends, walk.batches)
    if any(factor is not None and index != at for index, factor in enumerate(factors or [])):
        walk.refuse(node, "cuts another axis than that of the batch by its size")
    if at is None:
        return place
    has_steps = len(node.inputs) > 4 and node.inputs[4] is not None
    steps = walk.integers(node, 4) if has_steps else [1] * (at + 1)
    if at >= len(starts or [0] * rank):
        return place
    if starts is None or ends is None or steps is None or starts[at] != 0 or steps[at] != 1:
        walk.refuse(node, "takes some entries of the batch and leaves others")
    if all(end[at] >= _ALL for end in ends):
        return place
    if place.times is None or ends[0].reshape(-1)[at] < walk.old * place.times:
        walk.refuse(node, "takes some entries of the batch and leaves others")
    if size_vectors.follows(ends):
        if any(end[at] < place.times * batch for end, batch in zip(ends, walk.batches, strict=True)):
            walk.refuse(node, "takes some entries of the batch and leaves others")
        return place
    everything = [_ALL if i == at else int(end) for i, end in enumerate(ends[0].reshape(-1))]
    if given is None:
        set_sizes(walk, node, 2, everything)
    else:
        node.attributes.add(ir.AttrInt64s("ends", everything))
        walk.rewritten[str(node.name)] = None
    return place


def resize(walk: Walk, node: ir.Node) -> BatchAxis:
    """Follow the batch through a Resize of other axes, and rewrite its size."""
    place, rank = walk.batch_axis(node, 0), len(walk.dims(node))
    if place is None or any(walk.batch_axis(node, index) is not None for index in range(1, len(node.inputs))):
        walk.refuse(node, "resizes the batch by sizes that depend on an image")
    if node.attributes.get_string("coordinate_transformation_mode") == "tf_crop_and_resize":
        walk.refuse(node, "crops while it resizes")
    axes = [axis % rank for axis in size_vectors.axes_of(node, ()) or range(rank)]
    if place.axis not in axes:
        return place
    at = axes.index(place.axis)
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return _resize_to(walk, node, place, at)
    attribute = node.attributes.get("scales")
    scales = (
        walk.content(node, 2 if walk.opset >= ROI_SINCE else 1)
        if attribute is None
        else (np.array(attribute.as_floats()),)
    )
    if scales is None or size_vectors.follows(scales) or scales[0].reshape(-1)[at] != 1:
        walk.refuse(node, "resizes the axis of the batch")
    return place


def _resize_to(walk: Walk, node: ir.Node, place: BatchAxis, at: int) -> BatchAxis:
    policy = node.attributes.get("keep_aspect_ratio_policy")
    content, data = walk.content(node, 3), node.inputs[0]
    factors = None if content is None else size_vectors.multiples(content, walk.batches)
    if content is None or factors is None or (policy is not None and policy.as_string() != "stretch"):
        walk.refuse(node, "resizes to sizes that are not known")
    if any(factor is not None and index != at for index, factor in enumerate(factors)):
        walk.refuse(node, "resizes another axis than that of the batch by its size")
    if factors[at] is not None and factors[at] == place.times:
        return place
    target = walk.integers(node, 3)
    if place.times is None or target is None or target[at] != walk.old * place.times:
        walk.refuse(node, "resizes the axis of the batch")
    if walk.new is not None:
        target[at] = walk.new * place.times
        set_sizes(walk, node, 3, target)
    else:
        assert data is not None
        elements: list[int | ir.Value] = [data if i == at else size for i, size in enumerate(target)]
        node.replace_input_with(3, size_vector(walk, node, elements, place.axis))
        walk.rewritten[str(node.name)] = None
    return place


RULES: dict[str, Rule] = {
    "Expand": expand,
    "Tile": tile,
    "ConstantOfShape": constant_of_shape,
    "Slice": sliced,
    "Resize": resize,
    "Upsample": resize,
}

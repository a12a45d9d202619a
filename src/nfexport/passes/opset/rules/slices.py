"""Cutting tensors: what was an attribute became an input.

Split      lengths: attribute before 13, input from then on; equal parts are counted from 18 (num_outputs)
Slice      starts, ends, axes: attributes before 10, inputs from then on, with steps
TopK       k: attribute before 10, input from then on; the smallest k, and any order, from 11
Gather     negative indices and axes from 11
Shape      a part of the shape from 15; before, the whole of it is sliced
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.constants import fixed_tensor
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.opset.rules.axes import with_axis
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source

SketchedValues = Sequence[SketchedValue | None]
_END = 2**63 - 1
"""The largest int64: whatever the size of the axis, a Slice ends with it."""


def _int64(values: Sequence[int]) -> Array:
    return np.array(values, dtype=np.int64)


def split(site: RewriteSite) -> SketchedValues:
    """Carry Split."""
    x, parts = site.x(), len(site.node.outputs)
    axis = site.axis(site.attribute("axis", 0), x)
    computed = site.input(1)
    if computed is not None and site.target >= 13:
        return site.emit_many("Split", x, computed, outputs=parts, axis=axis)
    lengths = _ints(site, 1, "split") if site.source >= 13 else site.attribute("split")
    if lengths is None and site.source >= 18:
        lengths = _uneven_lengths(site, x, axis, parts)
    if site.target < 13:
        return site.emit_many("Split", x, outputs=parts, axis=axis, split=lengths)
    if lengths is not None:
        return site.emit_many("Split", x, _int64(lengths), outputs=parts, axis=axis)
    count = parts if site.target >= 18 else None
    return site.emit_many("Split", x, outputs=parts, axis=axis, num_outputs=count)


def _uneven_lengths(site: RewriteSite, x: ir.Value, axis: int, parts: int) -> list[int] | None:
    """Return how num_outputs cuts the axis, where it cannot be equal parts."""
    dims = site.dims(x)
    length = None if dims is None else dims[axis]
    if length is None:
        site.refuse(
            f"its num_outputs cuts axis {axis}, whose length is not fixed, so that the last of the "
            f"{parts} parts may be shorter"
        )
    if length % parts == 0:
        return None
    chunk = -(-length // parts)
    return [max(0, min(chunk, length - i * chunk)) for i in range(parts)]


def slice_(site: RewriteSite) -> SketchedValues:
    """Carry Slice."""
    x = site.x()
    if site.source >= 10 and site.target >= 10:
        axes = site.input(3)
        if site.target >= 11 or axes is None:
            return site.keep()
        values = site.constant(axes, "axes input").tolist()
        if min(values) >= 0:
            return site.keep()
        positive = _int64([site.axis(axis, x) for axis in values])
        return [site.emit("Slice", x, site.input(1), site.input(2), positive, site.input(4))]
    if site.target >= 10:
        starts, ends = site.attribute("starts"), site.attribute("ends")
        return [emit_slice(site, x, starts, ends, site.attribute("axes", range(len(starts))))]
    steps = _ints(site, 4, "steps")
    if steps is not None and any(step != 1 for step in steps):
        site.refuse(f"its steps {steps} are not all 1, and opset 9 knows no other")
    starts, ends = _ints(site, 1, "starts") or [], _ints(site, 2, "ends") or []
    cut = _ints(site, 3, "axes") or range(len(starts))
    return [emit_slice(site, x, starts, ends, [site.axis(axis, x) for axis in cut])]


def emit_slice(
    site: RewriteSite, x: Source, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]
) -> SketchedValue:
    """Sketch a Slice with steps of 1 in the target's form."""
    if site.target >= 10:
        return site.emit("Slice", x, _int64(starts), _int64(ends), _int64(list(axes)))
    return site.emit("Slice", x, starts=list(starts), ends=list(ends), axes=list(axes))


def _ints(site: RewriteSite, index: int, what: str) -> list[int] | None:
    value = site.input(index)
    return None if value is None else [int(i) for i in site.constant(value, f"{what} input").ravel()]


def top_k(site: RewriteSite) -> SketchedValues:
    """Carry TopK. The smallest k are the negated largest of the negated; any order may be the sorted one."""
    if site.source >= 11 and site.target >= 11:
        return site.keep()
    x = site.x()
    k = site.input(1) if site.source >= 10 else _int64([site.attribute("k")])
    assert k is not None
    axis = site.axis(site.attribute("axis", -1), x)
    if site.target >= 11:
        return site.emit_many("TopK", x, k, outputs=2, axis=axis)
    smallest = not site.attribute("largest", 1)
    data: Source = site.emit("Neg", x) if smallest else x
    if site.target >= 10:
        values, indices = site.emit_many("TopK", data, k, outputs=2, axis=axis)
    else:
        number = site.constant(k, "K input") if isinstance(k, ir.Value) else k
        values, indices = site.emit_many("TopK", data, outputs=2, k=int(number.item()), axis=axis)
    return [site.emit("Neg", values) if smallest else values, indices]


def gather(site: RewriteSite) -> SketchedValues:
    """Carry Gather. Indices known to be negative are counted from the front before opset 11.

    Indices that are computed at run time are taken to be within 0 … n − 1, as the old text demands.
    """
    if site.target >= 11:
        return site.keep()
    x, indices = site.x(), site.input(1)
    if indices is None or site.source < 11 or fixed_tensor(indices) is None:
        return with_axis(site)
    values = site.constant(indices, "indices")
    if values.size == 0 or values.min() >= 0:
        return with_axis(site)
    axis = site.axis(site.attribute("axis", 0), x)
    dims = site.dims(x)
    length = None if dims is None else dims[axis]
    if length is None:
        site.refuse(f"its indices count from the end of axis {axis}, whose length is not fixed")
    return [site.emit("Gather", x, np.where(values < 0, values + length, values), axis=axis)]


def shape(site: RewriteSite) -> SketchedValues:
    """Carry Shape; a part of the shape is cut out of the whole where the target cannot do so itself."""
    start, end = site.attribute("start", 0), site.attribute("end")
    if site.target >= 15 or (start == 0 and end is None):
        return site.keep()
    whole = site.emit("Shape", site.x())
    return [emit_slice(site, whole, [start], [_END if end is None else end], [0])]


RULES: dict[str, Rule] = {
    "Gather": gather,
    "Shape": shape,
    "Slice": slice_,
    "Split": split,
    "TopK": top_k,
}

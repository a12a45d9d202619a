"""Axes as an attribute or as an input, and softmax over one axis or over all that follow.

    Reduce* (ReduceSum 13, others 18), Squeeze, Unsqueeze (13)   axes: attribute before, input from then on
    Softmax, LogSoftmax, Hardmax (13)                            before: over axis and all behind it, as one
    ArgMax, ArgMin, Concat, Compress, Flatten (11)               before: no negative axis

Before opset 11 no axis may be negative, so one is counted from the front; the rank must be known for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.libraries import ir, np
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source

SketchedValues = Sequence[SketchedValue | None]

_IDENTITY_ON_NO_AXES = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"}
_REDUCTIONS = (
    *_IDENTITY_ON_NO_AXES,
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
)


def _input_form_since(op_type: str) -> int:
    """Return the opset from which the operator takes its axes as an input."""
    return 13 if op_type in ("ReduceSum", "Squeeze", "Unsqueeze") else 18


def read_axes(site: RewriteSite) -> list[int] | None:
    """Return the node's axes as it gives them, from attribute or input; None where it gives none."""
    value = site.input(1)
    if value is not None:
        return [int(axis) for axis in site.constant(value, "axes input").ravel()]
    axes = site.attribute("axes")
    return None if axes is None else list(axes)


def emit_with_axes(
    site: RewriteSite, op_type: str, x: Source, axes: list[int] | None, **attributes: int
) -> SketchedValue:
    """Sketch an operator in the target's form of giving axes; they must suit the target already."""
    if axes is None:
        return site.emit(op_type, x, **attributes)
    if site.target >= _input_form_since(op_type):
        return site.emit(op_type, x, np.array(axes, dtype=np.int64), **attributes)
    return site.emit(op_type, x, axes=axes, **attributes)


def reduce(site: RewriteSite) -> SketchedValues:
    """Carry a reduction; without axes it runs over all of them, or over none if noop_with_empty_axes."""
    op_type, since = site.node.op_type, _input_form_since(site.node.op_type)
    if site.source >= since and site.target >= since:
        return site.keep()
    x = site.x()
    axes = read_axes(site)
    if not axes and site.attribute("noop_with_empty_axes", 0):
        if op_type not in _IDENTITY_ON_NO_AXES:
            site.refuse(f"{op_type} over an empty set of axes has no older form")
        return [site.emit("Identity", x)]
    positive = [site.axis(axis, x) for axis in axes] if axes else None
    return [emit_with_axes(site, op_type, x, positive, keepdims=site.attribute("keepdims"))]


def squeeze(site: RewriteSite) -> SketchedValues:
    """Carry Squeeze."""
    if site.source >= 13 and site.target >= 13:
        return site.keep()
    x = site.x()
    axes = read_axes(site)
    return [emit_with_axes(site, "Squeeze", x, None if axes is None else [site.axis(a, x) for a in axes])]


def unsqueeze(site: RewriteSite) -> SketchedValues:
    """Carry Unsqueeze, whose axes count in the result."""
    if site.source >= 13 and site.target >= 13:
        return site.keep()
    x = site.x()
    axes = read_axes(site)
    if axes is None:
        site.refuse("it has no axes")
    if site.target < 11 and min(axes) < 0:
        rank = site.rank(x) + len(axes)
        axes = [axis + rank if axis < 0 else axis for axis in axes]
    return [emit_with_axes(site, "Unsqueeze", x, axes)]


def softmax(site: RewriteSite) -> SketchedValues:
    """Carry Softmax, LogSoftmax or Hardmax between 'over one axis' (13) and 'over it and all behind it'.

    The two agree on the last axis, and where all behind it have length 1. Else, downwards, the axis is
    swapped with the last one; upwards, the tensor is flattened and shaped back.
    """
    if (site.source >= 13) == (site.target >= 13):
        return with_axis(site, default=-1 if site.source >= 13 else 1)
    x, op_type = site.x(), site.node.op_type
    axis = site.attribute("axis", -1 if site.source >= 13 else 1)
    if axis == -1 and site.target >= 11:
        return [site.emit(op_type, x, axis=-1)]
    dims = site.dims(x)
    rank = site.rank(x)
    axis = axis + rank if axis < 0 else axis
    if dims is not None and all(dim == 1 for dim in dims[axis + 1 :]):
        return [site.emit(op_type, x, axis=axis)]
    if site.target < 13:
        order = list(range(rank))
        order[axis], order[-1] = order[-1], order[axis]
        swapped = site.emit("Transpose", x, perm=order)
        return [site.emit("Transpose", site.emit(op_type, swapped, axis=rank - 1), perm=order)]
    flat = site.emit(op_type, site.emit("Flatten", x, axis=axis), axis=-1)
    return [site.emit("Reshape", flat, site.emit("Shape", x))]


def with_axis(site: RewriteSite, *, default: int | None = None) -> SketchedValues:
    """Carry an operator as it is, but for a negative axis, which opset 10 and older do not know."""
    axis = site.attribute("axis", default)
    if axis is None or axis >= 0 or site.target >= 11:
        return site.keep()
    attributes = {**site.node.attributes, "axis": ir.AttrInt64("axis", site.axis(axis, site.x()))}
    return site.keep(attributes)


def _with_axis(site: RewriteSite) -> SketchedValues:
    return with_axis(site)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_REDUCTIONS, reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    **dict.fromkeys(("ArgMax", "ArgMin", "Compress", "Concat", "Flatten"), _with_axis),
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
}

"""Normalisations that an older opset has to spell out.

    LayerNormalization (17)   d / √(mean(d²) + eps) · scale + bias, with d = x − mean(x), over the last axes
    RMSNormalization (23)     x / √(mean(x²) + eps) · scale, over the last axes
    GroupNormalization        scale per group (18) or per channel (21); InstanceNormalization of the groups
    BatchNormalization (14)   training form: five outputs before, training_mode = 1 from then on

Half-precision inputs are normalised in float32 where the operator says so (stash_type = 1, its default).
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_training_batch_normalization
from nfexport.passes.opset.rules.axes import emit_with_axes
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source, where_missing

SketchedValues = Sequence[SketchedValue | None]


def layer_normalization(site: RewriteSite) -> SketchedValues:
    """Spell out LayerNormalization, with the two statistics that it can put out."""
    x = site.x()
    axes = _last_axes(site, x)
    wide, ftype = _widened(site, x)
    mean = emit_with_axes(site, "ReduceMean", wide, axes, keepdims=1)
    centred = site.emit("Sub", wide, mean)
    square = site.emit("Pow", centred, np.array(2, dtype=ftype.numpy()))
    root = _root(site, emit_with_axes(site, "ReduceMean", square, axes, keepdims=1), ftype)
    result = _scaled(site, _narrowed(site, site.emit("Div", centred, root), x, ftype))
    inverse = site.emit("Reciprocal", root) if site.reads_output(2) else None
    return [result, mean, inverse][: len(site.node.outputs)]


def rms_normalization(site: RewriteSite) -> SketchedValues:
    """Spell out RMSNormalization."""
    x = site.x()
    axes = _last_axes(site, x)
    wide, ftype = _widened(site, x)
    square = site.emit("Mul", wide, wide)
    root = _root(site, emit_with_axes(site, "ReduceMean", square, axes, keepdims=1), ftype)
    return [_scaled(site, _narrowed(site, site.emit("Div", wide, root), x, ftype))]


def _last_axes(site: RewriteSite, x: ir.Value) -> list[int]:
    axis = site.attribute("axis", -1)
    if axis < 0 and site.target >= 11:
        return list(range(axis, 0))
    rank = site.rank(x)
    return list(range(axis % rank, rank))


def _widened(site: RewriteSite, x: ir.Value) -> tuple[Source, ir.DataType]:
    """Return x in the type to compute in, and that type."""
    dtype = site.dtype(x)
    if dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) and site.attribute("stash_type", 1) == ir.DataType.FLOAT:
        return site.emit("Cast", x, to=int(ir.DataType.FLOAT)), ir.DataType.FLOAT
    return x, dtype


def _narrowed(site: RewriteSite, y: SketchedValue, x: ir.Value, ftype: ir.DataType) -> SketchedValue:
    dtype = site.dtype(x)
    return y if dtype == ftype else site.emit("Cast", y, to=int(dtype))


def _root(site: RewriteSite, mean_square: SketchedValue, ftype: ir.DataType) -> SketchedValue:
    epsilon = np.array(site.attribute("epsilon", 1e-5), dtype=ftype.numpy())
    return site.emit("Sqrt", site.emit("Add", mean_square, epsilon))


def _scaled(site: RewriteSite, y: SketchedValue) -> SketchedValue:
    y = site.emit("Mul", y, site.input(1))
    return y if site.input(2) is None else site.emit("Add", y, site.input(2))


def group_normalization(site: RewriteSite) -> SketchedValues:
    """Spell out GroupNormalization: each group is an instance channel of [N, groups, all its elements]."""
    if site.source >= 21 and site.target >= 21:
        return site.keep()
    x, groups = site.x(), site.attribute("num_groups")
    scale, bias = site.input(1), site.input(2)
    dims = site.dims(x)
    if dims is None or len(dims) < 3 or dims[1] is None:
        site.refuse("the number of its channels is not fixed")
    wide, ftype = _widened(site, x) if site.source >= 21 else (x, site.dtype(x))
    grouped = site.emit("Reshape", wide, np.array([0, groups, -1], dtype=np.int64))
    epsilon = site.attribute("epsilon", 1e-5)
    if site.source >= 21:
        one, zero = (np.full(groups, number, dtype=ftype.numpy()) for number in (1, 0))
        normal = site.emit("InstanceNormalization", grouped, one, zero, epsilon=epsilon)
    else:
        normal = site.emit("InstanceNormalization", grouped, scale, bias, epsilon=epsilon)
    y = site.emit("Reshape", normal, _shape_of(site, x, dims))
    if site.source < 21:
        return [y]
    y = _narrowed(site, y, x, ftype)
    per_channel = np.array([dims[1], *[1] * (len(dims) - 2)], dtype=np.int64)
    y = site.emit("Mul", y, site.emit("Reshape", scale, per_channel))
    return [site.emit("Add", y, site.emit("Reshape", bias, per_channel))]


def _shape_of(site: RewriteSite, x: ir.Value, dims: Sequence[int | None]) -> Array | SketchedValue:
    """Return the shape of x, as a constant if only the batch may vary."""
    if None in dims[1:]:
        return site.emit("Shape", x)
    return np.array([-1, *dims[1:]], dtype=np.int64)


def batch_normalization(site: RewriteSite) -> SketchedValues:
    """Carry BatchNormalization: the inference form as it is, the training form if only Y is in use.

    What the other outputs of the training form hold was first laid down in opset 14.
    """
    outputs = len(site.node.outputs)
    training = is_training_batch_normalization(site.node)
    if any(site.reads_output(i) for i in range(1, outputs)) and (site.source < 14) != (site.target < 14):
        site.refuse("its running statistics are in use, and opset 14 changed what they hold")
    if site.source < 9:
        site.refuse("before opset 9 it may have kept statistics for each position (spatial = 0)")
    given = {name: site.attribute(name) for name in ("epsilon", "momentum")}
    if training and site.target >= 14:
        count, given["training_mode"] = min(outputs, 3), 1
    else:
        count = 5 if training else 1
    new_values = site.emit_many("BatchNormalization", *site.node.inputs, outputs=count, **given)
    return [*new_values, *[None] * outputs][:outputs]


RULES: dict[str, Rule] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "LayerNormalization": where_missing(layer_normalization),
    "RMSNormalization": where_missing(rms_normalization),
}

"""For each operator, which axis of its result holds the batch, or why the entries of a batch mix in it.

A rule takes the axes of the inputs and gives those of the outputs. It refuses what sums, sorts, normalises,
shifts or picks along the axis of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.graph.libraries import ir, np
from nfexport.graph.recognisers import is_training_batch_normalization
from nfexport.passes.interface.propagation import size_vectors
from nfexport.passes.interface.propagation.walk import BatchAxis, Rule, Walk

AXIS_SPLITS_SINCE = 13
"""The opset from which Softmax works along one axis; before, it makes a matrix of two groups of axes."""


def alone(walk: Walk, node: ir.Node) -> BatchAxis:
    """Change each element by itself."""
    place = first_batch_axis(walk, node)
    if node.op_type == "Dropout" and len(node.inputs) > 2 and walk.integers(node, 2) != [0]:
        walk.refuse(node, "is a Dropout in training, which draws anew for every batch")
    return place


def leading(walk: Walk, node: ir.Node) -> BatchAxis:
    """Take [N, C, …], one entry after the other, with weights that are the same for all."""
    place = first_batch_axis(walk, node)
    if place.axis != 0:
        walk.refuse(node, f"has the batch in axis {place.axis} of its input, and its own batch is axis 0")
    if is_training_batch_normalization(node):
        walk.refuse(node, "normalises with the statistics of the batch")
    if node.op_type == "MaxPool" and len(node.outputs) > 1 and _is_read(node.outputs[1]):
        walk.refuse(node, "gives indices that count through the whole batch")
    return place


def quantized(walk: Walk, node: ir.Node) -> BatchAxis:
    """Quantize with one scale, or with one for each index of an axis other than the batch."""
    place = first_batch_axis(walk, node)
    scale = walk.dims(node, 1)
    if scale not in ([], [1]) and (len(scale) > 1 or axis_of(walk, node, default=1) == place.axis):
        walk.refuse(node, "has a scale for each entry of the batch, or for blocks")
    return place


def along_axis(walk: Walk, node: ir.Node) -> BatchAxis:
    """Work along one axis, which is not that of the batch."""
    place = first_batch_axis(walk, node)
    axis = (
        walk.integers(node, 1)
        if node.op_type == "CumSum"
        else [node.attributes.get_int("axis", _DEFAULT[node.op_type])]
    )
    if axis is None:
        walk.refuse(node, "works along an axis that is not known")
    keep_apart(walk, node, place, axis)
    return place


def softmax(walk: Walk, node: ir.Node) -> BatchAxis:
    """Work along one axis; before opset 13, along all from the axis on."""
    place = first_batch_axis(walk, node)
    if walk.opset >= AXIS_SPLITS_SINCE:
        keep_apart(walk, node, place, [node.attributes.get_int("axis", -1)])
    elif place.axis >= axis_of(walk, node, default=1):
        walk.refuse(node, "works along the axis of the batch")
    return place


def trailing(walk: Walk, node: ir.Node) -> BatchAxis:
    """Normalise over all axes from one on."""
    place = first_batch_axis(walk, node)
    if place.axis >= axis_of(walk, node, default=-1):
        walk.refuse(node, "normalises over the axis of the batch")
    return place


def reduced(walk: Walk, node: ir.Node) -> BatchAxis:
    """Reduce axes, of which the batch is none."""
    place, rank = first_batch_axis(walk, node), len(walk.dims(node))
    if node.op_type in ("ArgMax", "ArgMin"):
        axes: list[int] | None = [node.attributes.get_int("axis", 0)]
    else:
        axes = walk.attributed(node, "axes", 1)
        if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
            walk.refuse(node, "reduces axes that are not known")
    if not axes:
        if node.attributes.get_int("noop_with_empty_axes", 0):
            return place
        axes = [0, 2, 3] if node.op_type == "MeanVarianceNormalization" else list(range(rank))
    axes = keep_apart(walk, node, place, axes)
    if node.op_type == "MeanVarianceNormalization" or node.attributes.get_int("keepdims", 1) != 0:
        return place
    return BatchAxis(place.axis - sum(axis < place.axis for axis in axes), place.times)


def padded(walk: Walk, node: ir.Node) -> BatchAxis:
    """Pad other axes than the batch; how far may be known at run time only."""
    place, rank = first_batch_axis(walk, node), len(walk.dims(node))
    pads = node.attributes.get_ints("pads", None)
    content = walk.content(node, 1) if pads is None else (np.array(pads),)
    axes = list(range(rank)) if len(node.inputs) < 4 or node.inputs[3] is None else walk.integers(node, 3)
    if axes is None or content is None or size_vectors.follows(content):
        walk.refuse(node, "pads by widths that are not known")
    where = [axis % rank for axis in axes]
    if place.axis in where:
        at = where.index(place.axis)
        if content[0][at] != 0 or content[0][at + len(where)] != 0:
            walk.refuse(node, "pads the axis of the batch")
    return place


def first_batch_axis(walk: Walk, node: ir.Node) -> BatchAxis:
    """Return the place of the batch in the first input; refuse the node if another depends on the batch."""
    place = walk.batch_axis(node, 0)
    if place is None or any(walk.batch_axis(node, index) is not None for index in range(1, len(node.inputs))):
        walk.refuse(node, "has the batch in an input that should be the same for all entries")
    for value in node.inputs[1:]:
        if value is not None and walk.follows(value) and node.op_type not in ("Pad", "Slice"):
            walk.refuse(node, "computes with the size of the batch")
    return place


def axis_of(walk: Walk, node: ir.Node, *, default: int) -> int:
    """Return the attribute axis, counted from the left of the first input."""
    return node.attributes.get_int("axis", default) % max(len(walk.dims(node)), 1)


def keep_apart(walk: Walk, node: ir.Node, place: BatchAxis, axes: Sequence[int], *, index: int = 0) -> list[int]:
    """Return the axes counted from the left; refuse the node if the batch is one of them."""
    rank = len(walk.dims(node, index))
    positive = [axis % rank for axis in axes]
    if place.axis in positive:
        walk.refuse(node, "works along the axis of the batch")
    return positive


def _is_read(value: ir.Value) -> bool:
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())


_DEFAULT = {"CumSum": 0, "TopK": -1, "LpNormalization": -1}

_ALONE = """Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast Ceil Celu Cos Cosh Dropout Elu Erf Exp Floor Gelu
HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid
Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu"""
_LEADING = """AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool
GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool MaxPool SpaceToDepth"""
_REDUCED = """ArgMax ArgMin MeanVarianceNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ALONE.split(), alone),
    **dict.fromkeys(_LEADING.split(), leading),
    **dict.fromkeys(_REDUCED.split(), reduced),
    **dict.fromkeys(_DEFAULT, along_axis),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), trailing),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantized),
    "Pad": padded,
}

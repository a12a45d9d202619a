"""What cannot be carried is named: the node, the operator, the reason, and the nearest opset that works."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.opset.convert_opset import ConvertOpset
from tests.passes import opset_agreement as agreement

X = "float[N,4] x"
X4 = "float[N,4,6,6] x"
Y = "float[a,b] y"
Y4 = "float[a,b,c,d] y"
SCALES = "<float[4] s = {1, 1, 0.5, 0.5}>"

# inputs and outputs, node, opset of the graph, opset to carry it to, reason, nearest opset that works
REFUSALS = {
    "an operator unknown there": (
        f"({X}) => ({Y})",
        "y = Trilu(x)",
        *(18, 13, "opset 13 has no operator Trilu", 14),
    ),
    "an operator that changed, without a rule": (
        "(uint8[N,4] x, float s, uint8 z) => (float[a,b] y)",
        "y = DequantizeLinear(x, s, z)",
        *(13, 10, "DequantizeLinear changed between opset 13 and 10, and no rule carries it over", 13),
    ),
    "an equation that is no product of matrices": (
        "(float[N,4] x, float[4,3] w) => (float[a] y)",
        'y = Einsum<equation="ij,jk->i">(x, w)',
        *(13, 11, "opset 11 has no operator Einsum, and 'ij,jk->i' is not a product of matrices", 12),
    ),
    "an equation of one operand": (
        "(float[N,4] x) => (float[a] y)",
        'y = Einsum<equation="ij->i">(x)',
        *(13, 11, "opset 11 has no operator Einsum, and 'ij->i' has no other form", 12),
    ),
    "a type unknown there": (
        "(int8[N,4] x) => (int8[a,b] y)",
        "y = ReduceMax<axes=[1]>(x)",
        *(13, 11, "ReduceMax takes no int8 tensor as its input 'data' at opset 11", 12),
    ),
    "a type unknown to the operator that would take its place": (
        f"({X}) => (bool[a,b] y)",
        "y = GreaterOrEqual(x, x)",
        *(12, 10, "Equal takes no float tensor as its input 'A' at opset 10", 11),
    ),
    "a computed exponent of another type": (
        f"({X}, double[4] e) => ({Y})",
        "y = Pow(x, e)",
        *(15, 11, "its exponent, which is of another type, is not constant", 12),
    ),
    "axes that are computed": (
        f"({X}, int64[1] i) => ({Y})",
        "y = ReduceMean(x, i)",
        *(18, 17, "its axes input is not constant", 18),
    ),
    "axes that a caller may override": (
        f"({X}, int64[1] i = {{1}}) => ({Y})",
        "y = ReduceMean(x, i)",
        *(18, 17, "its axes input is not constant", 18),
    ),
    "a norm over no axes": (
        f"({X}) => ({Y})",
        "y = ReduceL2<noop_with_empty_axes=1>(x)",
        *(18, 17, "ReduceL2 over an empty set of axes has no older form", 18),
    ),
    "a rank that nobody knows": (
        "(float[] x) => (float[] y)",
        "y = Softmax<axis=-1>(x)",
        *(13, 9, "the rank of 'x' is not known", 11),
    ),
    "a pooling of unknown size": (
        f"(float[N,4,h,w] x) => ({Y4})",
        "y = MaxPool<kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1>(x)",
        18,
        9,
        "ceil_mode came with opset 10, and how many windows it adds along axis 2 depends on a size that is not fixed",
        10,
    ),
    "padding that is counted": (
        f"({X4}) => ({Y4})",
        "y = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,"
        " count_include_pad=1>(x)",
        *(18, 9, "ceil_mode came with opset 10, and here count_include_pad counts some of its padding", 10),
    ),
    "dilations": (
        f"({X4}) => ({Y4})",
        "y = AveragePool<kernel_shape=[2, 2], dilations=[2, 2]>(x)",
        *(19, 18, "its dilations [2, 2] are not all 1, and opset 18 knows no other", 19),
    ),
    "parts of unknown length": (
        f"({X}) => ({Y}, float[c,d] z)",
        "y, z = Split<num_outputs=2>(x)",
        18,
        17,
        "its num_outputs cuts axis 0, whose length is not fixed, so that the last of the 2 parts may be shorter",
        18,
    ),
    "a slice with steps": (
        f"({X}) => ({Y}) <int64[1] s = {{0}}, int64[1] e = {{4}}, int64[1] i = {{1}}, int64[1] t = {{2}}>",
        "y = Slice(x, s, e, i, t)",
        *(13, 9, "its steps [2] are not all 1, and opset 9 knows no other", 10),
    ),
    "indices from an end that is not fixed": (
        f"({X}) => ({Y}) <int64[1] i = {{-1}}>",
        "y = Gather<axis=0>(x, i)",
        *(13, 9, "its indices count from the end of axis 0, whose length is not fixed", 11),
    ),
    "wrapped padding": (
        f"({X}) => ({Y}) <int64[4] p = {{0, 1, 0, 1}}>",
        'y = Pad<mode="wrap">(x, p)',
        *(19, 18, "mode 'wrap' came with opset 19", 19),
    ),
    "a shape with a zero": (
        f"({X}) => ({Y}) <int64[2] s = {{0, 4}}>",
        "y = Reshape<allowzero=1>(x, s)",
        *(18, 13, "it asks for a dimension of length 0 (allowzero), which came with opset 14", 14),
    ),
    "antialias": (
        f"(float[1,1,8,8] x) => ({Y4}) {SCALES}",
        'y = Resize<mode="linear", antialias=1>(x, , s)',
        *(18, 17, "antialias came with opset 18", 18),
    ),
    "coordinates that opset 10 has not": (
        f"(float[1,1,8,8] x) => ({Y4}) {SCALES}",
        'y = Resize<mode="linear">(x, , s)',
        *(13, 10, "the coordinates 'half_pixel' came with opset 11", 11),
    ),
    "making smaller, across opset 11": (
        f"(float[1,1,8,8] x) => ({Y4}) {SCALES}",
        'y = Resize<mode="linear">(x, s)',
        *(10, 13, "it makes smaller, and what opset 10 meant by that is not laid down", 10),
    ),
    "an attribute unknown there": (
        f"({X4}) => ({Y4})",
        'y = DepthToSpace<blocksize=2, mode="CRD">(x)',
        *(13, 9, "DepthToSpace has no attribute 'mode' at opset 9, and this one is 'CRD'", 11),
    ),
    "statistics of a training form": (
        f"({X4}, float[4] s) => ({Y4}, float[4] m)",
        "y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s)",
        *(15, 13, "its running statistics are in use, and opset 14 changed what they hold", 14),
    ),
    "groups of an unknown number of channels": (
        f"(float[N,c,6,6] x, float[4] s) => ({Y4})",
        "y = GroupNormalization<num_groups=2>(x, s, s)",
        *(21, 17, "the number of its channels is not fixed", 21),
    ),
    "a dropout that drops": (
        f"({X}) => ({Y}) <float r = {{0.5}}, bool t = {{1}}>",
        "y = Dropout(x, r, t)",
        13,
        11,
        "it drops at random (training_mode), which an inference graph does not",
        12,
    ),
    "a reduction of scattered values": (
        f"({X}, int64[1,4] i, float[1,4] u) => ({Y})",
        'y = ScatterElements<reduction="max">(x, i, u)',
        *(18, 17, "reduction 'max' came with opset 18", 18),
    ),
    "half-precision steps": (
        "(float16 x, float16 d) => (float16[a] y)",
        "y = Range(x, x, d)",
        *(11, 27, "opset 27 changed how float16 steps add up", 26),
    ),
    "attention": (
        f"(float[1,2,4,8] x) => ({Y4})",
        "y = Attention(x, x, x)",
        *(23, 17, "opset 17 has no operator Attention", 23),
    ),
}


@pytest.mark.parametrize(
    ("interface", "node", "source", "target", "reason", "nearest"), REFUSALS.values(), ids=REFUSALS
)
def test_what_cannot_be_carried_is_named(
    interface: str, node: str, source: int, target: int, reason: str, nearest: int
) -> None:
    outputs, call = node.split(" = ", 1)
    proto = agreement.parse(f'g {interface} {{ ["/n"] {outputs} = {call} }}', source)
    operator = proto.graph.node[0].op_type
    model = ir.serde.deserialize_model(proto)
    before = ir.serde.serialize_model(model)
    with pytest.raises(PassError) as refusal:
        ConvertOpset(opset=target).apply(model)
    assert str(refusal.value) == (
        f"node '/n' ({operator}) has no form at opset {target}: {reason}; opset {nearest} is the nearest that works"
    )
    assert ir.serde.serialize_model(model) == before

"""One rule, one case: a graph and its carried form agree in ONNX Runtime; the operators are as expected."""

from __future__ import annotations

import numpy as np
import pytest

from nfexport.passes.opset.rules import RULES
from nfexport.passes.opset.rules.rewrite_site import RewriteSite
from tests.passes import opset_agreement as agreement

X4 = "float[N,4,6,5] x"
Y = "float[a,b,c,d] y"

# graph text, opset of the text, opset to carry it to, operators that are to come out
FORMS = {
    "ReduceMean 18 to 11": (
        f"g ({X4}) => ({Y}) <int64[2] axes = {{-1, -2}}> {{ y = ReduceMean(x, axes) }}",
        *(18, 11, ["ReduceMean"]),
    ),
    "ReduceMean 18 to 9 counts axes from the front": (
        f"g ({X4}) => ({Y}) <int64[2] axes = {{-1, -2}}> {{ y = ReduceMean(x, axes) }}",
        *(18, 9, ["ReduceMean"]),
    ),
    "ReduceMax 13 to 18": (
        "g (float[N,4,6] x) => (float[a,b] y) { y = ReduceMax<axes=[1], keepdims=0>(x) }",
        *(13, 18, ["ReduceMax"]),
    ),
    "ReduceSum 13 to 11, over all": (
        "g (float[N,4,6] x) => (float[a,b,c] y) { y = ReduceSum(x) }",
        *(13, 11, ["ReduceSum"]),
    ),
    "ReduceSum 11 to 13": (
        "g (float[N,4,6] x) => (float[a,b] y) { y = ReduceSum<axes=[-1], keepdims=0>(x) }",
        *(11, 13, ["ReduceSum"]),
    ),
    "ReduceMean over no axes is the identity": (
        "g (float[N,4] x) => (float[a,b] y) { y = ReduceMean<noop_with_empty_axes=1>(x) }",
        *(18, 11, ["Identity"]),
    ),
    "Squeeze 13 to 9": (
        "g (float[N,4,1] x) => (float[a,b] y) <int64[1] axes = {-1}> { y = Squeeze(x, axes) }",
        *(13, 9, ["Squeeze"]),
    ),
    "Squeeze 11 to 21": (
        "g (float[N,1,4] x) => (float[a,b] y) { y = Squeeze<axes=[1]>(x) }",
        *(11, 21, ["Squeeze"]),
    ),
    "Unsqueeze 13 to 9 counts in the result": (
        "g (float[N,4] x) => (float[a,b,c,d] y) <int64[2] axes = {-1, 1}> { y = Unsqueeze(x, axes) }",
        *(13, 9, ["Unsqueeze"]),
    ),
    "Unsqueeze 11 to 13": (
        "g (float[N,4] x) => (float[a,b,c] y) { y = Unsqueeze<axes=[-1]>(x) }",
        *(11, 13, ["Unsqueeze"]),
    ),
    "Concat with a negative axis": (
        "g (float[N,4] x) => (float[a,b] y) { y = Concat<axis=-1>(x, x) }",
        *(13, 9, ["Concat"]),
    ),
    "Softmax over the last axis": (
        "g (float[N,4,6] x) => (float[a,b,c] y) { y = Softmax(x) }",
        *(13, 9, ["Softmax"]),
    ),
    "Softmax over a middle axis": (
        f"g ({X4}) => ({Y}) {{ y = Softmax<axis=1>(x) }}",
        *(13, 11, ["Transpose", "Softmax", "Transpose"]),
    ),
    "Softmax over an axis with ones behind it": (
        "g (float[N,4,1,1] x) => (float[a,b,c,d] y) { y = Softmax<axis=1>(x) }",
        *(13, 9, ["Softmax"]),
    ),
    "Softmax 11 to 13, over all behind": (
        "g (float[N,4,6] x) => (float[a,b,c] y) { y = Softmax(x) }",
        *(11, 13, ["Flatten", "Softmax", "Shape", "Reshape"]),
    ),
    "LogSoftmax 11 to 13, last axis": (
        "g (float[N,4,6] x) => (float[a,b,c] y) { y = LogSoftmax<axis=2>(x) }",
        *(11, 13, ["LogSoftmax"]),
    ),
    "Split 13 to 11": (
        "g (float[N,6] x) => (float[a,b] y, float[c,d] z) <int64[2] s = {2, 4}> { y, z = Split<axis=-1>(x, s) }",
        *(13, 11, ["Split"]),
    ),
    "Split 11 to 18": (
        "g (float[N,6] x) => (float[a,b] y, float[c,d] z) { y, z = Split<axis=1, split=[2, 4]>(x) }",
        *(11, 18, ["Split"]),
    ),
    "Split 13 to 18, lengths as an input": (
        "g (float[N,6] x) => (float[a,b] y, float[c,d] z) <int64[2] s = {2, 4}> { y, z = Split<axis=1>(x, s) }",
        *(13, 18, ["Split"]),
    ),
    "Split in equal parts 11 to 18": (
        "g (float[N,6] x) => (float[a,b] y, float[c,d] z) { y, z = Split<axis=1>(x) }",
        *(11, 18, ["Split"]),
    ),
    "Split in unequal parts 18 to 9": (
        "g (float[N,7] x) => (float[a,b] y, float[c,d] z) { y, z = Split<axis=-1, num_outputs=2>(x) }",
        *(18, 9, ["Split"]),
    ),
    "Slice 13 to 9": (
        "g (float[N,6] x) => (float[a,b] y)"
        " <int64[1] s = {1}, int64[1] e = {-1}, int64[1] a = {-1}> { y = Slice(x, s, e, a) }",
        *(13, 9, ["Slice"]),
    ),
    "Slice 9 to 10": (
        "g (float[N,6] x) => (float[a,b] y) { y = Slice<starts=[0, 1], ends=[9, -1]>(x) }",
        *(9, 10, ["Slice"]),
    ),
    "Slice 13 to 10, negative axis": (
        "g (float[N,6] x) => (float[a,b] y)"
        " <int64[1] s = {0}, int64[1] e = {5}, int64[1] a = {-1}, int64[1] t = {2}>"
        " { y = Slice(x, s, e, a, t) }",
        *(13, 10, ["Slice"]),
    ),
    "TopK 11 to 9": (
        "g (float[N,6] x) => (float[a,b] y, int64[c,d] i) <int64[1] k = {3}> { y, i = TopK(x, k) }",
        *(11, 9, ["TopK"]),
    ),
    "TopK of the smallest": (
        "g (float[N,6] x) => (float[a,b] y, int64[c,d] i) <int64[1] k = {3}> { y, i = TopK<largest=0>(x, k) }",
        *(11, 10, ["Neg", "TopK", "Neg"]),
    ),
    "TopK 9 to 24": (
        "g (float[N,6] x) => (float[a,b] y, int64[c,d] i) { y, i = TopK<k=2, axis=1>(x) }",
        *(9, 24, ["TopK"]),
    ),
    "Gather with negative indices": (
        "g (float[N,6] x) => (float[a,b] y) <int64[2] i = {-1, 2}> { y = Gather<axis=-1>(x, i) }",
        *(13, 9, ["Gather"]),
    ),
    "Shape of a part": (
        "g (float[N,6,5] x) => (int64[a] y) { y = Shape<start=-2>(x) }",
        *(15, 9, ["Shape", "Slice"]),
    ),
    "Pad 13 to 9": (
        f"g ({X4}) => ({Y}) <int64[8] p = {{0, 0, 1, 2, 0, 0, 3, 0}}, float v = {{1.5}}> {{ y = Pad(x, p, v) }}",
        *(13, 9, ["Pad"]),
    ),
    "Pad of some axes": (
        f"g ({X4}) => ({Y}) <int64[4] p = {{1, 2, 3, 0}}, int64[2] a = {{-2, 3}}> {{ y = Pad(x, p, , a) }}",
        *(18, 11, ["Pad"]),
    ),
    "Pad 9 to 19": (
        f'g ({X4}) => ({Y}) {{ y = Pad<mode="reflect", pads=[0, 0, 1, 2, 0, 0, 3, 0]>(x) }}',
        *(9, 19, ["Pad"]),
    ),
    "Pad 9 to 13 with a value": (
        f"g ({X4}) => ({Y}) {{ y = Pad<pads=[0, 0, 1, 2, 0, 0, 3, 0], value=2.5>(x) }}",
        *(9, 13, ["Pad"]),
    ),
    "Reshape with allowzero": (
        "g (float[N,6] x) => (float[a,b,c] y) <int64[3] s = {-1, 2, 3}> { y = Reshape<allowzero=1>(x, s) }",
        *(18, 9, ["Reshape"]),
    ),
    "Clip 13 to 9": (
        "g (float[N,6] x) => (float[a,b] y) <float lo = {-0.5}, float hi = {1.0}> { y = Clip(x, lo, hi) }",
        *(13, 9, ["Clip"]),
    ),
    "Clip with one bound": (
        "g (float[N,6] x) => (float[a,b] y) <float hi = {1.0}> { y = Clip(x, , hi) }",
        *(13, 9, ["Clip"]),
    ),
    "Clip with computed bounds": (
        "g (float[N,6] x, float lo, float hi) => (float[a,b] y) { y = Clip(x, lo, hi) }",
        *(13, 9, ["Max", "Min"]),
    ),
    "Clip 9 to 13": (
        "g (float[N,6] x) => (float[a,b] y) { y = Clip<min=0.0>(x) }",
        *(9, 13, ["Clip"]),
    ),
    "Dropout 13 to 9": (
        "g (float[N,6] x) => (float[a,b] y) <float r = {0.5}> { y = Dropout(x, r) }",
        *(13, 9, ["Dropout"]),
    ),
    "Dropout 9 to 13": (
        "g (float[N,6] x) => (float[a,b] y) { y = Dropout<ratio=0.25>(x) }",
        *(9, 13, ["Dropout"]),
    ),
    "Constant of floats": (
        "g (float[N,2] x) => (float[a,b] y) { c = Constant<value_floats=[1.0, 2.0]>() y = Add(x, c) }",
        *(13, 11, ["Constant", "Add"]),
    ),
    "CastLike": (
        "g (int64[N,2] x, float[1] l) => (float[a,b] y) { y = CastLike(x, l) }",
        *(19, 14, ["Cast"]),
    ),
    "Cast with saturate": (
        "g (int64[N,2] x) => (float[a,b] y) { y = Cast<to=1, saturate=1>(x) }",
        *(19, 13, ["Cast"]),
    ),
    "Pow with an int64 exponent": (
        "g (float[N,2] x) => (float[a,b] y) <int64 e = {3}> { y = Pow(x, e) }",
        *(15, 11, ["Pow"]),
    ),
    "Gemm without C": (
        "g (float[N,2] x, float[3,2] w) => (float[a,b] y) { y = Gemm<transB=1>(x, w) }",
        *(13, 10, ["Gemm"]),
    ),
    "GreaterOrEqual": (
        "g (int64[N,2] x, int64[2] w) => (bool[a,b] y) { y = GreaterOrEqual(x, w) }",
        *(12, 9, ["Greater", "Equal", "Or"]),
    ),
    "Range": (
        "g (int64 s, int64 d) => (int64[a] y) <int64 e = {9}, int64 one = {1}>"
        " { t = Add(d, one) y = Range(s, e, t) }",
        *(11, 26, ["Add", "Range"]),
    ),
    "ArgMax with a negative axis": (
        "g (float[N,6] x) => (int64[a,b] y) { y = ArgMax<axis=-1>(x) }",
        *(13, 9, ["ArgMax"]),
    ),
    "an attribute that only repeats the default": (
        f'g ({X4}) => ({Y}) {{ y = DepthToSpace<blocksize=2, mode="DCR">(x) }}',
        *(13, 9, ["DepthToSpace"]),
    ),
    "ConvTranspose": (
        f"g ({X4}, float[4,3,2,2] w) => ({Y}) {{ y = ConvTranspose<strides=[2, 2]>(x, w) }}",
        *(11, 9, ["ConvTranspose"]),
    ),
    "Max of integers": (
        "g (int64[N,2] x, int64[2] w, int64 v) => (int64[a,b] y) { y = Max(x, w, v) }",
        *(13, 11, ["Greater", "Where", "Greater", "Where"]),
    ),
    "Min of integers": (
        "g (int64[N,2] x, int64[2] w) => (int64[a,b] y) { y = Min(x, w) }",
        *(12, 9, ["Less", "Where"]),
    ),
    "Max of one": (
        "g (int64[N,2] x) => (int64[a,b] y) { y = Max(x) }",
        *(13, 11, ["Identity"]),
    ),
    "Max of numbers": (
        "g (float[N,2] x, float[2] w) => (float[a,b] y) { y = Max(x, w) }",
        *(13, 11, ["Max"]),
    ),
    "Einsum of relative positions": (
        "g (float[B,2,3,4,5] q, float[3,6,5] r) => (float[a,b,c,d,e] y)"
        ' { y = Einsum<equation="byhwc,hkc->byhwk">(q, r) }',
        *(17, 11, ["Transpose", "Unsqueeze", "MatMul"]),
    ),
    "Einsum of matrices": (
        'g (float[N,4] x, float[4,3] w) => (float[a,b] y) { y = Einsum<equation="ij, jk -> ik">(x, w) }',
        *(17, 11, ["MatMul"]),
    ),
    "Einsum of outer axes": (
        'g (float[N,3,4] x, float[5,6,4] w) => (float[a,b,c,d] y) { y = Einsum<equation="nac,bdc->bnda">(x, w) }',
        *(12, 9, ["Unsqueeze", "Transpose", "Unsqueeze", "MatMul", "Transpose"]),
    ),
    "Einsum of vectors": (
        'g (float[N,4] x, float[N,4] w) => (float[a] y) { y = Einsum<equation="ni,ni->n">(x, w) }',
        *(12, 11, ["Unsqueeze", "Unsqueeze", "MatMul", "Squeeze"]),
    ),
    "LessOrEqual": (
        "g (float[N,2] x, float[2] w) => (bool[a,b] y) { y = LessOrEqual(x, w) }",
        *(16, 11, ["Less", "Equal", "Or"]),
    ),
}


@pytest.mark.parametrize(("text", "source", "target", "expected"), FORMS.values(), ids=FORMS.keys())
def test_an_operator_takes_its_other_form(text: str, source: int, target: int, expected: list[str]) -> None:
    assert agreement.carried_operators(text, source, target) == expected


def test_scatter_is_named_scatter_before_opset_11() -> None:
    text = """g (float[3,2] x, int64[1,2] i, float[1,2] u) => (float[a,b] y)
              { y = ScatterElements<axis=0>(x, i, u) }"""
    assert agreement.carried_operators(text, 13, 9) == ["Scatter"]


def test_or_equal_is_false_for_nan() -> None:
    before = agreement.parse("g (float[2] x) => (bool[2] y) { y = LessOrEqual(x, x) }", 12)
    after, _ = agreement.carry(before, 11)
    feeds = {"x": np.array([np.nan, 1.0], dtype=np.float32)}
    assert agreement.run(after, feeds)[0].tolist() == [False, True]


def test_softmax_over_the_wrong_axes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def keeps_the_axis(site: RewriteSite) -> object:
        return [site.emit("Softmax", site.x(), axis=site.attribute("axis"))]

    before = agreement.parse("g (float[N,3,4] x) => (float[a,b,c] y) { y = Softmax<axis=1>(x) }", 13)
    feeds = agreement.seeded_feeds(before)
    expected = agreement.run(before, feeds)
    right, _ = agreement.carry(before, 11)
    assert agreement.error(agreement.run(right, feeds), expected) <= agreement.ROUNDING
    monkeypatch.setitem(RULES, "Softmax", keeps_the_axis)
    wrong, _ = agreement.carry(before, 11)
    assert agreement.error(agreement.run(wrong, feeds), expected) > 0.1

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.passes.rewrites import merge_pads
from nfexport.passes.rewrites.merge_pads import MergePads
from tests.passes.graphs import normal, operators, parse, run

POOL = "MaxPool<kernel_shape=[3,3], strides=[2,2]>"


def padded(
    *, before: str = "Relu", fill: float = 0.0, pads: tuple[int, ...] = (0, 0, 1, 1, 0, 0, 0, 2), pool: str = POOL
) -> ir.Model:
    body = f"""g (float[n,2,7,9] x) => (float[n,2,h,w] y) {{
        a = {before}(x)
        b = Pad(a, pads, fill)
        y = {pool}(b)
    }}"""
    weights = {"pads": np.array(pads), "fill": np.array(fill, np.float32)}
    return parse(body, weights=weights)


@pytest.mark.parametrize(
    ("before", "fill"), [("Relu", 0.0), ("Sigmoid", 0.0), ("Relu", -np.inf), ("Identity", -np.inf)]
)
def test_the_pooling_pads_by_itself_where_that_is_the_same(before: str, fill: float) -> None:
    model = padded(before=before, fill=fill)
    x = normal(2, 2, 7, 9) - 2
    (expected,) = run(model, {"x": x}, optimise=False)
    report = MergePads().apply(model)
    assert report.changed == 1
    assert operators(model) == [before, "MaxPool"]
    assert (run(model, {"x": x})[0] == expected).all()
    assert MergePads().apply(model).changed == 0


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (padded(before="Identity"), "what is padded may be negative"),
        (padded(fill=1.0), "it is padded with 1"),
        (padded(pads=(0, 0, 3, 0, 0, 0, 0, 0)), "a window may lie in the padding alone"),
        (padded(pads=(0, 1, 0, 0, 0, 0, 0, 0)), "its Pad is not one of height and width by a known constant"),
        (padded(pads=(0, 0, -1, 0, 0, 0, 0, 0)), "its Pad is not one of height and width by a known constant"),
        (padded(pool="MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>"), "it pads by itself too"),
        (padded(pool='MaxPool<kernel_shape=[3,3], auto_pad="SAME_UPPER">'), "it pads by itself too"),
        (padded(pool="MaxPool<kernel_shape=[3,3], dilations=[2,2]>"), "it rounds its size up or is dilated"),
    ],
)
def test_other_pairs_stay_and_are_named(model: ir.Model, reason: str) -> None:
    report = MergePads().apply(model)
    assert list(report.left_alone.values()) == [reason]
    assert operators(model)[1:] == ["Pad", "MaxPool"]


def test_merging_where_the_map_is_negative_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    model = padded(before="Identity")
    x = np.full((1, 2, 7, 9), -1.0, np.float32)
    (expected,) = run(model, {"x": x}, optimise=False)
    monkeypatch.setattr(merge_pads, "is_not_negative", lambda value: True)
    assert MergePads().apply(model).changed == 1
    assert np.abs(run(model, {"x": x})[0] - expected).max() == 1


def test_a_pad_with_attributes_of_opset_10() -> None:
    body = f"""g (float[n,2,7,9] x) => (float[n,2,h,w] y) {{
        a = Relu(x)
        b = Pad<pads=[0,0,1,1,0,0,1,1]>(a)
        y = {POOL}(b)
    }}"""
    model = parse(body, opset=10)
    x = normal(1, 2, 7, 9)
    (expected,) = run(model, {"x": x}, optimise=False)
    assert MergePads().apply(model).changed == 1
    assert (run(model, {"x": x})[0] == expected).all()

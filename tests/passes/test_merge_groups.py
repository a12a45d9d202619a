from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.graph import edit
from nfexport.passes.rewrites import merge_groups
from nfexport.passes.rewrites.merge_groups import MergeGroups
from tests.passes.graphs import normal, parse, run

ROUNDING = 2e-6
"""Of the largest output: sums of a few hundred float32 products in another order differ by less."""


def grouped(groups: int, width: int, *, given: int | None = None) -> ir.Model:
    channels, filters = groups * width, groups * (given or width)
    body = f"""g (float[n,{channels},6,6] x) => (float[n,{filters},6,6] y) {{
        y = Conv<group={groups}, pads=[1,1,1,1]>(x, w, b)
    }}"""
    return parse(body, weights={"w": normal(filters, width, 3, 3), "b": normal(filters, seed=1)})


def block(groups: int, width: int) -> ir.Model:
    """A bottleneck with an attention gate, as NF-RegNets have it."""
    c = groups * width
    body = f"""g (float[n,4,9,9] x) => (float[n,5,h,v] y) {{
        a = Conv(x, w1, b1)
        sa = Sigmoid(a)
        p = Mul(a, sa)
        g = Conv<group={groups}, pads=[1,1,1,1], strides=[2,2]>(p, wg, bg)
        m = ReduceMean<axes=[2,3], keepdims=1>(g)
        f = Conv(m, wf, bf)
        r = Relu(f)
        k = Conv(r, wk, bk)
        q = Sigmoid(k)
        t = Mul(g, q)
        u = Mul(t, scale)
        y = Conv(u, w3, b3)
    }}"""
    weights = {
        "w1": normal(c, 4, 1, 1, seed=1),
        "b1": normal(c, seed=2),
        "wg": normal(c, width, 3, 3, seed=3),
        "bg": normal(c, seed=4),
        "wf": normal(7, c, 1, 1, seed=5),
        "bf": normal(7, seed=6),
        "wk": normal(c, 7, 1, 1, seed=7),
        "bk": normal(c, seed=8),
        "scale": normal(1, c, 1, 1, seed=9),
        "w3": normal(5, c, 1, 1, seed=10),
        "b3": normal(5, seed=11),
    }
    model = parse(body, weights=weights)
    return ir.passes.common.ShapeInferencePass()(model).model


def group_widths(model: ir.Model) -> list[int]:
    weights = [edit.constant(node.inputs[1]) for node in model.graph if merge_groups.group_count(node) > 1]
    return [weight.shape[1] for weight in weights if weight is not None]


def outputs(model: ir.Model, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (y,) = run(model, {"x": x})
    return y


def close(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    return bool(np.abs(actual - expected).max() <= ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize(("width", "merged"), [(2, 16), (4, 16), (8, 16), (12, 48), (24, 48)])
def test_narrow_groups_become_groups_of_whole_vectors(width: int, merged: int) -> None:
    factor = merged // width
    model = grouped(3 * factor, width)
    x = normal(2, 3 * merged, 6, 6, seed=3)
    before = outputs(model, x)
    report = MergeGroups().apply(model)
    assert (report.changed, dict(report.left_alone)) == (1, {})
    assert group_widths(model) == [merged]
    assert close(outputs(model, x), before)
    assert MergeGroups().apply(model).changed == 0


def test_the_weight_is_block_diagonal_and_holds_the_old_numbers() -> None:
    weight = normal(6, 1, 2, 2) + 10
    merged = merge_groups.merge(weight, 6, 3)
    assert merged.shape == (6, 3, 2, 2)
    for filter_index in range(6):
        assert (merged[filter_index, filter_index % 3] == weight[filter_index, 0]).all()
    assert np.count_nonzero(merged) == weight.size


def test_a_wrong_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tolerance lets no group pass that reads its neighbour's channels."""
    right = merge_groups.merge
    monkeypatch.setattr(merge_groups, "merge", lambda *a: np.roll(right(*a), 8, axis=1))
    model, x = grouped(4, 8), normal(2, 32, 6, 6, seed=3)
    before = outputs(model, x)
    MergeGroups().apply(model)
    assert not close(outputs(model, x), before)


@pytest.mark.parametrize("groups", [3, 5])
def test_channels_are_filled_up_where_groups_do_not_pair(groups: int) -> None:
    model, x = block(groups, 8), normal(2, 4, 9, 9, seed=20)
    before = outputs(model, x)
    report = MergeGroups().apply(model)
    assert report.facts["filled_up"] == 1
    assert group_widths(model) == [16]
    assert close(outputs(model, x), before)
    filled = 8 * (groups + 1)
    shapes = {value.name: list(value.shape or ())[1] for node in model.graph for value in node.outputs}
    assert {shapes[name] for name in "apgmkqtu"} == {filled}
    assert (shapes["f"], shapes["y"]) == (7, 5)


def test_groups_that_pair_need_no_more_channels() -> None:
    model = block(4, 8)
    assert MergeGroups().apply(model).facts["filled_up"] == 0
    assert len(edit.constant(model.graph.initializers["w1"])) == 32  # type: ignore[arg-type]


def test_a_weight_with_another_reader_stays_for_that_one() -> None:
    body = """g (float[n,40,6,6] x, float[n,4,6,6] z) => (float[n,40,6,6] y, float[n,40,6,6] v) {
        a = Conv(z, w1)
        g = Conv<group=5, pads=[1,1,1,1]>(a, wg)
        y = Conv(g, w3)
        v = Conv<group=5, pads=[1,1,1,1]>(x, wg)
    }"""
    weights = {"w1": normal(40, 4, 1, 1), "wg": normal(40, 8, 3, 3), "w3": normal(40, 40, 1, 1)}
    model = ir.passes.common.ShapeInferencePass()(parse(body, weights=weights)).model
    feeds = {"x": normal(1, 40, 6, 6), "z": normal(1, 4, 6, 6, seed=1)}
    before = run(model, feeds)
    report = MergeGroups().apply(model)
    assert report.changed == 1
    assert list(report.left_alone.values()) == [
        "its channels cannot be padded: 'v' is an input or output of the graph"
    ]
    for actual, expected in zip(run(model, feeds), before, strict=True):
        assert close(actual, expected)


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        ("y = Relu(g)", "'y' is an input or output of the graph"),
        ("y = ReduceMean<axes=[1,2,3], keepdims=1>(g)", "(ReduceMean) does not keep channels apart"),
        ("s = Softmax<axis=1>(g)  y = Conv(s, w3)", "(Softmax) does not keep channels apart"),
        ("s = Mul(g, map)  y = Conv(s, w3)", "'map' varies along more than its channels"),
        ("s = Relu(g)  y = Conv(map, s)", "convolves with it"),
    ],
)
def test_channels_that_somebody_looks_at_stay(behind: str, reason: str) -> None:
    body = f"""g (float[1,4,9,9] x) => (float[k,l,h,v] y) {{
        p = Conv(x, w1)
        g = Conv<group=5, pads=[1,1,1,1]>(p, wg)
        {behind}
    }}"""
    weights = {"w1": normal(40, 4, 1, 1), "wg": normal(40, 8, 3, 3), "w3": normal(2, 40, 1, 1)}
    weights["map"] = normal(1, 40, 9, 9)
    model = ir.passes.common.ShapeInferencePass()(parse(body, weights=weights)).model
    report = MergeGroups().apply(model)
    assert report.changed == 0
    assert reason in next(iter(report.left_alone.values()))
    assert group_widths(model) == [8]
    run(model, {"x": normal(1, 4, 9, 9)})


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (grouped(4, 20), "groups of 20 channels are not worth it"),
        (grouped(4, 8, given=4), "its groups take 8 channels and give 4"),
    ],
)
def test_groups_that_do_not_pay_are_named(model: ir.Model, reason: str) -> None:
    report = MergeGroups().apply(model)
    assert list(report.left_alone.values()) == [reason]
    assert report.changed == 0


def test_depthwise_whole_and_single_groups_are_none_of_its_business() -> None:
    for model in (grouped(32, 1), grouped(2, 16), grouped(1, 8)):
        report = MergeGroups().apply(model)
        assert (report.changed, dict(report.left_alone)) == (0, {})


def test_a_computed_weight_is_named() -> None:
    model = parse(
        "g (float[n,16,6,6] x, float[16,8,3,3] w) => (float[n,16,6,6] y) { y = Conv<group=2, pads=[1,1,1,1]>(x, w) }"
    )
    assert "computed at run time" in next(iter(MergeGroups().apply(model).left_alone.values()))

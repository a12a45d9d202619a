"""Linear branches over one value, and convolutions one after another, become one convolution, or are named."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import onnx_ir.passes.common as common_passes
import pytest
import torch

import nfexport
from nfexport.passes.folds.branches import kernels, linear_map
from nfexport.passes.folds.branches.windows import Axis, union
from nfexport.passes.folds.merge_branches import MergeBranches
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.torchvision_operators import import_timm
from nfexport.verification.weight_check import check_weights
from tests.passes.graphs import Array, normal, operators, parse, run, stored

ROUNDING = 2e-6
"""Of the largest output: float32 sums of a few hundred products in another order differ by less."""

MORE = "one convolution would need more multiplications"

STATISTICS = {"sc": normal(8, seed=30), "sh": normal(8, seed=31), "me": normal(8, seed=32)}
STATISTICS["va"] = np.abs(normal(8, seed=33)) + np.float32(0.1)

WEIGHTS: dict[str, Any] = {
    **STATISTICS,
    "w3": normal(8, 8, 3, 3, seed=1),
    "b3": normal(8, seed=2),
    "w1": normal(8, 8, 1, 1, seed=3),
    "b1": normal(8, seed=4),
    "w5": normal(8, 8, 5, 5, seed=5),
    "d3": normal(8, 1, 3, 3, seed=6),
    "d1": normal(8, 1, 1, 1, seed=7),
    "g3": normal(8, 4, 3, 3, seed=8),
    "w13": normal(8, 8, 1, 3, seed=9),
    "gamma": normal(8, 1, 1, seed=10),
    "two": np.float32(2),
    "vector": normal(9, seed=11),
    "map": normal(8, 9, 9, seed=12),
    "narrow": normal(2, 8, 1, 1, seed=13),
    "wide": normal(8, 2, 1, 1, seed=14),
    "stem": normal(8, 8, 1, 1, seed=15),
    "up": normal(64, 8, 3, 3, seed=20),
    "bu": normal(64, seed=21),
    "down": normal(8, 32, 1, 1, seed=22),
}


def graph(body: str, *, opset: int = 17, **more: Array) -> ir.Model:
    """Return a graph from x to y, shapes inferred."""
    words = set(re.findall(r"\w+", body))
    weights = {name: array for name, array in {**WEIGHTS, **more}.items() if name in words}
    model = parse(f"g (float[n,8,9,9] x) => (float[k,l,h,v] y) {{ {body} }}", opset=opset, weights=weights)
    return common_passes.ShapeInferencePass()(model).model


def outputs(model: ir.Model, shape: tuple[int, ...] = (2, 8, 9, 9)) -> Array:
    (y,) = run(model, {"x": normal(*shape, seed=40)}, optimise=False)
    return y


def close(actual: Array, expected: Array) -> bool:
    return actual.shape == expected.shape and bool(
        np.abs(actual - expected).max() <= ROUNDING * np.abs(expected).max()
    )


RULES = {
    "two kernels": "a = Conv<pads=[1,1,1,1]>(x, w3, b3) b = Conv(x, w1, b1) y = Add(a, b)",
    "the value itself": "a = Conv<pads=[1,1,1,1]>(x, w3) y = Add(x, a)",
    "no bias at all": "a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) y = Add(a, b)",
    "normalisation on the skip": """a = Conv<pads=[1,1,1,1]>(x, w3, b3)
        b = BatchNormalization(x, sc, sh, me, va) y = Add(a, b)""",
    "normalisation of the sum": """a = Conv<group=8, pads=[1,1,1,1]>(x, d3) b = Conv<group=8>(x, d1)
        c = Add(a, b) d = Add(c, x) y = BatchNormalization(d, sc, sh, me, va)""",
    "a mixer scaled and subtracted": """a = BatchNormalization(x, sc, sh, me, va)
        b = Conv<group=8, pads=[1,1,1,1]>(x, d3, b3) c = Add(a, b) d = BatchNormalization(x, sh, sc, me, va)
        e = Sub(c, d) f = Mul(e, gamma) y = Add(x, f)""",
    "Sum, Neg and Div": """a = Conv<pads=[1,1,1,1]>(x, w3, b3) b = Conv(x, w1) c = Neg(b) d = Div(x, two)
        y = Sum(a, c, d)""",
    "subtracted branches": "a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1, b1) c = Sub(a, b) y = Neg(c)",
    "one and the same twice": "a = Conv(x, w1, b1) b = Add(x, x) y = Add(b, a)",
    "strides": """a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w3) b = Conv<strides=[2,2]>(x, w1)
        y = Add(a, b)""",
    "dilation": "a = Conv<pads=[2,2,2,2]>(x, w5) b = Conv<dilations=[2,2], pads=[2,2,2,2]>(x, w3) y = Add(a, b)",
    "asymmetric kernels": "a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv<pads=[0,1,0,1]>(x, w13) y = Add(a, b)",
    "automatic padding": 'a = Conv<auto_pad="SAME_UPPER">(x, w3) b = Conv<auto_pad="VALID">(x, w1) y = Add(a, b)',
    "automatic padding at a stride": """a = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w3)
        b = Conv<strides=[2,2]>(x, w1) y = Add(a, b)""",
    "groups": "a = Conv<group=2, pads=[1,1,1,1]>(x, g3) b = Conv<group=8>(x, d1) y = Add(a, b)",
    "groups beside a dense one": """a = Conv<pads=[1,1,1,1]>(x, w3)
        b = Conv<group=2, pads=[1,1,1,1]>(x, g3) y = Add(a, b)""",
    "average pooling": """a = Conv<pads=[1,1,1,1]>(x, w3)
        b = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x) y = Add(a, b)""",
    "average pooling of a convolution": """a = Conv(x, w3, b3) b = Conv(x, w1, b1)
        c = AveragePool<kernel_shape=[3,3]>(b) y = Add(a, c)""",
    "a branch of two convolutions": """a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) c = Conv(b, stem)
        y = Add(a, c)""",
    "an offset": "a = Conv<pads=[1,1,1,1]>(x, w3) y = Add(a, gamma)",
    "pointwise after 3 × 3": "a = Conv<pads=[1,1,1,1]>(x, w3, b3) y = Conv(a, w1, b1)",
    "3 × 3 after pointwise without bias": "a = Conv(x, w1) y = Conv<pads=[1,1,1,1]>(a, w3, b3)",
    "3 × 3 after pointwise, no padding": "a = Conv(x, w1, b1) y = Conv<strides=[2,2]>(a, w3, b3)",
    "pointwise with a stride after 3 × 3": """a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w3, b3)
        y = Conv<strides=[2,2]>(a, w1)""",
    "depthwise after depthwise": "a = Conv<group=8, pads=[1,1,1,1]>(x, d3, b3) y = Conv<group=8>(a, d1, b1)",
    "wide between": "a = Conv<pads=[1,1,1,1]>(x, up, bu) y = Conv<group=2>(a, down, b1)",
}


@pytest.mark.parametrize("body", RULES.values(), ids=RULES)
def test_it_becomes_one_convolution(body: str) -> None:
    before = outputs(graph(body))
    model = graph(body)
    report = MergeBranches().apply(model)
    assert operators(model) == ["Conv"]
    assert (report.changed, dict(report.left_alone)) == (1, {})
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert len(model.graph.initializers) == len(model.graph[0].inputs) - 1
    assert close(outputs(model), before)
    assert MergeBranches().apply(model).changed == 0


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 22])
def test_every_opset_has_one_form(opset: int) -> None:
    model = graph(RULES["a mixer scaled and subtracted"], opset=opset)
    before = outputs(graph(RULES["a mixer scaled and subtracted"], opset=opset))
    assert MergeBranches().apply(model).changed == 1
    assert close(outputs(model), before)


@pytest.mark.parametrize("axes", [1, 3])
def test_one_and_three_spatial_axes(axes: int) -> None:
    sizes = ",".join("7" * axes)
    weights = {"w": normal(4, 4, *[3] * axes, seed=1), "p": normal(4, 4, *[1] * axes, seed=2), "b": normal(4, seed=3)}
    body = f"""g (float[n,4,{sizes}] x) => (float[n,4,{sizes}] y) {{
        a = Conv<pads=[{",".join("1" * 2 * axes)}]>(x, w, b) c = Conv(x, p) d = Add(a, c) y = Add(d, x)
    }}"""
    x = normal(2, 4, *[7] * axes, seed=5)
    (before,) = run(parse(body, weights=weights), {"x": x}, optimise=False)
    model = parse(body, weights=weights)
    assert MergeBranches().apply(model).changed == 1
    assert operators(model) == ["Conv"]
    assert close(run(model, {"x": x}, optimise=False)[0], before)


def test_linear_layers_of_one_value_are_added_too() -> None:
    """The two heads of a distilled network."""
    body = """g (float[n,8] x) => (float[n,5] y) {
        a = Gemm<transB=1>(x, w, b) c = Gemm<alpha=0.5, beta=2.0>(x, v, d) s = Add(a, c) y = Div(s, two)
    }"""
    weights = {"w": normal(5, 8), "b": normal(5, seed=1), "v": normal(8, 5, seed=2), "d": normal(1, 5, seed=3)}
    weights["two"] = np.full((), 2, np.float32)
    x = normal(3, 8, seed=4)
    (before,) = run(parse(body, weights=weights), {"x": x}, optimise=False)
    model = parse(body, weights=weights)
    MergeBranches().apply(model)
    assert operators(model) == ["Gemm"]
    assert close(run(model, {"x": x}, optimise=False)[0], before)


def test_other_summands_stay() -> None:
    """Two convolutions of a value and the value itself, and a shortcut from elsewhere."""
    body = """r = Relu(x) s = Sub(x, r) a = Conv<pads=[1,1,1,1]>(r, w3, b3) t = Sub(s, a)
        b = Conv(r, w1) u = Sub(t, b) y = Relu(u)"""
    before = outputs(graph(body))
    model = graph(body)
    report = MergeBranches().apply(model)
    assert report.changed == 1
    assert Counter(operators(model)) == Counter(["Relu", "Conv", "Add", "Relu"])
    assert close(outputs(model), before)


def test_a_sum_that_is_subtracted_as_a_whole() -> None:
    body = """r = Relu(x) z = Sigmoid(x) a = Conv(r, w1) b = Conv(r, w1, b1) n = Neg(z) c = Sub(n, a) y = Sub(c, b)"""
    before = outputs(graph(body))
    model = graph(body)
    assert MergeBranches().apply(model).changed == 1
    assert close(outputs(model), before)


def test_groups_merge_with_groups_and_dense_with_dense() -> None:
    """All in one dense kernel of 3 × 3 would cost eight times what the depthwise one does."""
    body = """a = Conv<group=8, pads=[1,1,1,1]>(x, d3, b3) b = Conv(x, w1, b1) c = Conv<group=8>(x, d1)
        d = Conv(x, stem) e = Sum(a, b, c, d) y = Add(e, x)"""
    before = outputs(graph(body))
    model = graph(body)
    report = MergeBranches().apply(model)
    assert operators(model) == ["Conv", "Conv", "Add"]
    assert sorted(node.attributes.get_int("group", 1) for node in list(model.graph)[:2]) == [1, 8]
    assert list(report.left_alone.values()) == [MORE]
    assert close(outputs(model), before)


LEFT_ALONE = {
    "a pointwise convolution after a depthwise one": (
        "a = Conv<group=8, pads=[1,1,1,1]>(x, d3) y = Conv(a, w1)",
        f"after '/Conv_0': {MORE}",
    ),
    "a bottleneck": ("a = Conv(x, narrow) y = Conv(a, wide)", f"after '/Conv_0': {MORE}"),
    "a dense and a depthwise branch": (
        "a = Conv<group=8, pads=[1,1,1,1]>(x, d3) b = Conv(x, w1) y = Add(a, b)",
        MORE,
    ),
    "a cross of kernels": ("a = Conv<pads=[1,0,1,0]>(x, w31) b = Conv<pads=[0,1,0,1]>(x, w13) y = Add(a, b)", MORE),
    "a bias in front of padding": (
        "a = Conv(x, w1, b1) y = Conv<pads=[1,1,1,1]>(a, w3)",
        "after '/Conv_0': the second convolution pads with zeros what the first one has added its offset to",
    ),
    "a kernel in front of padding": (
        "a = Conv<group=8>(x, d3) y = Conv<group=8, pads=[1,1,1,1]>(a, d3)",
        "after '/Conv_0': the second convolution pads with zeros, where the first one goes on computing",
    ),
    "other strides": (
        "a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv<strides=[9,9]>(x, w1) y = Add(a, b)",
        "their strides differ (1 and 9)",
    ),
    "pooling that leaves the padding out": (
        "a = Conv(x, w1) b = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x) y = Add(a, b)",
        "the average pooling leaves the padding out of its means",
    ),
    "pooling that rounds up": (
        """a = Conv<strides=[2,2], pads=[0,0,0,0]>(x, w1)
        b = AveragePool<kernel_shape=[1,1], strides=[2,2], ceil_mode=1>(x) y = Add(a, b)""",
        "the average pooling rounds its size up",
    ),
    "a branch with other readers": (
        "a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) c = Add(a, b) d = Relu(b) y = Add(c, d)",
        "the output of '/Conv_1' has other readers",
    ),
    "a computed weight": (
        "a = Conv<pads=[1,1,1,1]>(x, w3) w = Mul(w1, w1) b = Conv(x, w) y = Add(a, b)",
        "its weight is computed at run time",
    ),
}


@pytest.mark.parametrize(("body", "reason"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_it_leaves_alone_and_names(body: str, reason: str) -> None:
    model = graph(body, w31=normal(8, 8, 3, 1))
    before = ir.to_proto(model).SerializeToString()
    report = MergeBranches().apply(model)
    assert report.changed == 0
    assert list(report.left_alone.values()) == [reason]
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize(
    "body",
    [
        "a = Relu(x) b = Conv<pads=[1,1,1,1]>(a, w3) y = Add(x, b)",
        "a = Conv(x, w1) b = Relu(a) y = Conv(b, w1)",
        "a = Conv(x, w1) y = Mul(a, gamma)",
        "a = Mul(x, gamma) y = Add(a, x)",
        "a = BatchNormalization(x, sc, sh, me, va) y = Sub(a, x)",
        "a = Conv<pads=[1,1,1,1]>(x, w3) y = Add(a, map)",
        "a = Mul(x, vector) y = Conv(a, w1)",
    ],
)
def test_what_is_no_branch_is_none_of_its_business(body: str) -> None:
    report = MergeBranches().apply(graph(body))
    assert (report.changed, dict(report.left_alone)) == (0, {})


def test_a_factor_that_is_no_vector_over_channels_stays_outside() -> None:
    body = "a = Mul(x, vector) b = Conv(x, w1) c = Conv(x, stem) d = Add(a, b) y = Add(d, c)"
    before = outputs(graph(body))
    model = graph(body)
    MergeBranches().apply(model)
    assert Counter(operators(model)) == Counter(["Mul", "Conv", "Add"])
    assert close(outputs(model), before)


def test_a_broadcast_skip_is_no_identity() -> None:
    """One channel is added to all eight."""
    body = "g (float[n,1,5,5] x) => (float[n,8,5,5] y) { a = Conv(x, w) y = Add(a, x) }"
    model = parse(body, weights={"w": normal(8, 1, 1, 1)})
    report = MergeBranches().apply(model)
    assert report.changed == 0
    assert list(report.left_alone.values()) == ["what is added to the convolution has its input channels"]


def test_a_kernel_as_large_as_the_image_is_no_branch_of_the_same_size() -> None:
    """The one pixel that it gives is added to every pixel of the other branch."""
    body = "a = Conv(x, whole) b = Conv(x, w1) y = Add(a, b)"
    model = graph(body, whole=normal(8, 8, 9, 9))
    report = MergeBranches().apply(model)
    assert report.changed == 0
    assert list(report.left_alone.values()) == ["their outputs have different sizes, or may have"]


def test_an_output_of_the_graph_keeps_its_branch() -> None:
    body = """g (float[n,8,9,9] x) => (float[n,8,9,9] y, float[n,8,9,9] a) {
        a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) y = Add(a, b)
    }"""
    model = parse(body, weights={name: WEIGHTS[name] for name in ("w3", "w1")})
    assert MergeBranches().apply(model).changed == 0


def test_a_default_of_an_input_is_no_weight() -> None:
    body = """g (float[n,8,9,9] x, float[8,8,1,1] w1) => (float[n,8,9,9] y) {
        a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) y = Add(a, b)
    }"""
    model = parse(body, weights={name: WEIGHTS[name] for name in ("w3", "w1")})
    report = MergeBranches().apply(model)
    assert list(report.left_alone.values()) == ["its weight is computed at run time"]


def test_weights_in_constant_nodes_and_nodes_without_names() -> None:
    proto = ir.to_proto(graph(RULES["normalisation on the skip"]))
    constants = [
        onnx.helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in proto.graph.initializer
    ]
    nodes = [*constants, *proto.graph.node]
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    for node in proto.graph.node:
        node.name = ""
    before = outputs(ir.from_proto(proto))
    model = ir.from_proto(proto)
    assert MergeBranches().apply(model).changed == 1
    assert operators(model) == ["Conv"]
    assert close(outputs(model), before)


def test_a_weight_with_another_reader_stays_for_that_one() -> None:
    body = "a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) c = Add(a, b) d = Relu(c) y = Conv(d, w1)"
    before = outputs(graph(body))
    model = graph(body)
    assert MergeBranches().apply(model).changed == 1
    assert close(outputs(model), before)
    assert (stored(model.graph.initializers["w1"]) == WEIGHTS["w1"]).all()


def test_a_weight_that_half_precision_cannot_hold_is_refused() -> None:
    body = """g (float16[n,8,9,9] x) => (float16[n,8,9,9] y) {
        a = Conv<pads=[1,1,1,1]>(x, w3) b = Conv(x, w1) y = Add(a, b)
    }"""
    weights = {"w3": np.full((8, 8, 3, 3), 6e4, np.float16), "w1": np.full((8, 8, 1, 1), 6e4, np.float16)}
    model = parse(body, weights=weights)
    report = MergeBranches().apply(model)
    assert report.changed == 0
    assert "the merged weight cannot be held in FLOAT16" in next(iter(report.left_alone.values()))


def test_weights_of_other_layers_are_not_read() -> None:
    """A large network without branches costs no copy of its weights."""
    model = graph("a = Conv(x, w1) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, w3, b3) y = Add(c, x)")

    def fail() -> ir.TensorProtocol:
        raise AssertionError("a weight was computed")

    for name in ("w1", "w3"):
        value = model.graph.initializers[name]
        tensor = value.const_value
        assert tensor is not None
        value.const_value = ir.LazyTensor(fail, dtype=tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name)
    assert MergeBranches().apply(model).changed == 0


def test_padding_sees_the_bias_that_a_naive_merge_would_put_there() -> None:
    """The interior agrees with the naive product of kernels; the border does not."""
    body = "a = Conv(x, w1, b1) y = Conv<pads=[1,1,1,1]>(a, w3)"
    expected = outputs(graph(body))
    first = linear_map.LinearMap(
        source=ir.Value(name="x"),
        window=(Axis(), Axis()),
        filters=8,
        channels=8,
        kernel=lambda: WEIGHTS["w1"].astype(np.float64),
        offset=lambda: WEIGHTS["b1"].astype(np.float64),
        has_offset=False,  # a lie
    )
    second = linear_map.LinearMap(
        source=ir.Value(name="a"),
        window=(Axis(kernel=3, begin=1, end=1),) * 2,
        filters=8,
        channels=8,
        kernel=lambda: WEIGHTS["w3"].astype(np.float64),
        offset=lambda: np.zeros(8),
        has_offset=False,
    )
    naive = linear_map.after(first, second)
    wrong = graph(
        "y = Conv<pads=[1,1,1,1]>(x, w, b)",
        w=naive.kernel().astype(np.float32),
        b=naive.offset().astype(np.float32),
    )
    assert close(outputs(wrong)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])
    assert not close(outputs(wrong), expected)


def test_a_kernel_in_the_wrong_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    body = RULES["two kernels"]
    before = outputs(graph(body))
    right = kernels.enlarge
    monkeypatch.setattr(kernels, "enlarge", lambda *a: np.roll(right(*a), 1, axis=3))
    model = graph(body)
    MergeBranches().apply(model)
    assert not close(outputs(model), before)


def test_windows_of_all_kinds_have_the_taps_of_both() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        first, second = (
            Axis(int(rng.integers(1, 5)), 1, int(rng.integers(1, 4)), int(rng.integers(0, 4))) for _ in range(2)
        )
        # ends that give outputs of one size
        spare = max(first.begin - first.reach, second.begin - second.reach, 0)
        first, second = (axis._replace(end=spare - axis.begin + axis.reach) for axis in (first, second))
        both = union(first, second, None)
        taps = {axis.dilation * j - axis.begin for axis in (first, second) for j in range(axis.kernel)}
        grid = {both.dilation * j - both.begin for j in range(both.kernel)}
        assert taps <= grid
        assert (min(taps), max(taps)) == (min(grid), max(grid))
        assert (both.spare, both.end >= 0) == (spare, True)


def random_graph(seed: int) -> onnx.ModelProto:
    """Return a float64 graph of random branches over one value, and over what they add up to."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    lines: list[str] = []
    kernel_sizes, strided = (1, 3, 5), bool(rng.integers(2))

    def weight(*shape: int) -> str:
        weights[f"w{len(weights)}"] = rng.standard_normal(shape)
        return f"w{len(weights) - 1}"

    def name() -> str:
        return f"v{len(lines)}"

    def convolve(x: str, *, stride: int = 1, pointwise: bool = False) -> str:
        size = 1 if pointwise else int(rng.choice(kernel_sizes))
        groups, dilation = int(rng.choice([1, 2, 4])), int(rng.integers(1, 3))
        pad = dilation * (size - 1) // 2
        bias = f", {weight(4)}" if rng.integers(2) else ""
        attributes = f"group={groups}, strides=[{stride},{stride}], dilations=[{dilation},{dilation}]"
        y = name()
        kernel = weight(4, 4 // groups, size, size)
        lines.append(f"{y} = Conv<{attributes}, pads=[{pad},{pad},{pad},{pad}]>({x}, {kernel}{bias})")
        return y

    def decorate(x: str) -> str:
        y, kind = name(), int(rng.integers(6))
        if kind == 0:
            lines.append(f"{y} = Mul({x}, {weight(4, 1, 1)})")
        elif kind == 1:
            lines.append(f"{y} = Add({weight(1, 4, 1, 1)}, {x})")
        elif kind == 2:
            statistics = [weight(4), weight(4), weight(4), weight(4)]
            weights[statistics[3]] = np.abs(weights[statistics[3]]) + 0.1
            lines.append(f"{y} = BatchNormalization<epsilon=0.001>({x}, {', '.join(statistics)})")
        elif kind == 3:
            lines.append(f"{y} = Neg({x})")
        else:
            return x
        return y

    def block(x: str) -> str:
        stride = 2 if strided and rng.integers(2) else 1
        total = decorate(convolve(x, stride=stride))
        for _ in range(int(rng.integers(1, 5))):
            kind = int(rng.integers(4))
            branch = x if stride == 1 and kind == 0 else convolve(x, stride=stride)
            if kind == 1:
                branch = convolve(branch, pointwise=True)
            if kind == 2 and stride == 1:
                branch = name()
                lines.append(f"{branch} = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>({x})")
            branch, y = decorate(branch), name()
            lines.append(f"{y} = {rng.choice(['Add', 'Sub'])}({total}, {branch})")
            total = y
        return decorate(total)

    out = block(block("x"))
    lines.append(f"y = Identity({out})")
    body = "\n".join(lines)
    model = ir.to_proto(
        parse(f"g (double[2,4,11,10] x) => (double[n,c,h,w] y) {{ {body} }}", opset=17, weights=weights)
    )
    return onnx.shape_inference.infer_shapes(model)


def in_float64(proto: onnx.ModelProto, x: Array) -> Array:
    found = onnx.reference.ReferenceEvaluator(proto).run(None, {"x": x})
    assert isinstance(found, list)
    return np.asarray(found[0])


@pytest.mark.parametrize("seed", range(40))
def test_random_branches_compute_the_same_in_float64(seed: int) -> None:
    proto = random_graph(seed)
    x = np.random.default_rng(seed).standard_normal((2, 4, 11, 10))
    before = in_float64(proto, x)
    model = ir.from_proto(proto)
    MergeBranches().apply(model)
    written = ir.to_proto(model)
    onnx.checker.check_model(written, full_check=True)
    after = in_float64(written, x)
    # sums of at most a few thousand float64 products
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12 * np.abs(before).max())
    assert operators(model).count("Conv") <= sum(node.op_type == "Conv" for node in proto.graph.node)
    assert MergeBranches().apply(model).changed == 0


def plainly(module: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    """Export as a user does who has torch alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, opset_version=17, dynamo=False, input_names=["x"])


class RepVggBlock(torch.nn.Module):
    """As in the authors' repository: 3 × 3 and 1 × 1, each with BatchNorm, and BatchNorm of the input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.identity = torch.nn.BatchNorm2d(channels)
        self.dense = torch.nn.Sequential(
            torch.nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False),
            torch.nn.BatchNorm2d(channels),
        )
        self.point = torch.nn.Sequential(
            torch.nn.Conv2d(channels, channels, 1, groups=groups, bias=False), torch.nn.BatchNorm2d(channels)
        )
        for layer in self.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                for tensor in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                    assert tensor is not None
                    tensor.uniform_(0.5, 1.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.relu(self.dense(x) + self.point(x) + self.identity(x))


@pytest.mark.parametrize("groups", [1, 4])
def test_the_repvgg_of_somebody_else(tmp_path: Path, groups: int) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(RepVggBlock(16, groups), RepVggBlock(16, groups)).eval()
    x = torch.randn(1, 16, 12, 12)
    plainly(module, x, tmp_path / "theirs.onnx")
    nfexport.surgery(tmp_path / "theirs.onnx", tmp_path / "ours.onnx", merge_branches=True)
    model = onnx.load(tmp_path / "ours.onnx")
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu"] * 2
    with torch.no_grad():
        expected = module.double()(x.double()).numpy()
    (actual,) = run(ir.from_proto(model), {"x": x.float().numpy()})
    assert close(actual, expected)


def test_the_other_weights_of_a_model_are_still_compared(tmp_path: Path) -> None:
    """A merged weight has a name that no parameter has."""

    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 8, 3)
            self.large, self.small = torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.stem(x).relu()
            return self.large(x) + self.small(x)

    module = Branches().eval()
    file = tmp_path / "m.onnx"
    plainly(module, torch.randn(1, 3, 9, 9), file)
    model = ir.load(file)
    assert MergeBranches().apply(model).changed == 1
    check = check_weights(module, ir.to_proto(model).SerializeToString(), lambda: [torch.randn(1, 3, 9, 9)])
    assert (check.passed, check.unexplained) == (True, {})


def counts(path: Path) -> tuple[int, int]:
    found = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    return found["Conv"], found["BatchNormalization"]


def test_an_export_merges_unless_it_is_told_not_to(tmp_path: Path) -> None:
    nfexport.export("repghostnet_050", tmp_path / "one.onnx", verify=False)
    nfexport.export("repghostnet_050", tmp_path / "many.onnx", verify=False, merge_branches=False)
    assert counts(tmp_path / "one.onnx") == (95, 0)
    assert counts(tmp_path / "many.onnx") == (95, 32)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    "name",
    [
        *("mobileone_s0", "mobileone_s4", "repvgg_a0", "repvgg_b1g4", "repvit_m0_9", "fastvit_t8", "fastvit_sa12"),
        *("repghostnet_050", "levit_128s", "levit_conv_128s", "efficientvit_m0", "tiny_vit_5m_224", "nextvit_small"),
        *("ghostnetv3_050", "lcnetv2_small", "shvit_s1", "iformer_t", "efficientvim_m1"),
    ],
)
def test_no_more_layers_are_left_than_by_timm(tmp_path: Path, name: str, opset: int) -> None:
    """Verified against the network as it was trained, in float64."""
    import_timm()
    from timm.utils.model import reparameterize_model

    nfexport.export(name, tmp_path / "ours.onnx", opset=opset)
    loaded = load(ModelSpec(name=name))
    module: Any = reparameterize_model(loaded.module)
    x = torch.zeros(1, *module.pretrained_cfg["input_size"])
    plainly(module, x, tmp_path / "timm.onnx")
    ours, theirs = counts(tmp_path / "ours.onnx"), counts(tmp_path / "timm.onnx")
    assert ours[0] <= theirs[0]
    assert ours[1] <= theirs[1]


@pytest.mark.slow
def test_a_network_without_branches_stays_as_it_is(tmp_path: Path) -> None:
    files = []
    for merge in (True, False):
        path = tmp_path / f"{merge}.onnx"
        nfexport.export("nf_regnet_b0", path, verify=False, merge_branches=merge)
        model = onnx.load(path)
        del model.metadata_props[:]
        files.append(model.SerializeToString())
    assert files[0] == files[1]

"""Inference BatchNormalization goes into the convolution before it, exactly, or is named."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir.passes.common as common_passes
import pytest

from nfexport.passes.folds.batch_norm import layers_behind
from nfexport.passes.folds.fold_bn import FoldBatchNormalization
from tests.passes.graphs import normal, operators, parse, run, stored

X = normal(2, 3, 8, 8, seed=2)
STATISTICS = {
    "scale": np.array([0.5, 1.0, 1.5, -2.0], np.float32),
    "shift": np.array([0.1, -0.2, 0.3, 0.4], np.float32),
    "mean": np.array([0.5, -1.0, 0.2, 0.0], np.float32),
    "var": np.array([0.4, 1.3, 2.0, 1e-4], np.float32),
}
WITH_BIAS = """g (float[N,3,8,8] x) => (float[N,4,6,6] y) {
    c = Conv (x, w, b)
    y = BatchNormalization <epsilon = 0.001> (c, scale, shift, mean, var)
}"""


@pytest.mark.parametrize("text", [WITH_BIAS, WITH_BIAS.replace(", b)", ")")], ids=["bias", "no bias"])
def test_it_folds_exactly(text: str) -> None:
    weights = {"w": normal(4, 3, 3, 3, seed=1), **STATISTICS}
    if ", b)" in text:
        weights["b"] = normal(4, seed=3)
    before = run(parse(text, weights=weights), {"x": X}, optimise=False)[0]
    model = parse(text, weights=weights)
    report = FoldBatchNormalization().apply(model)
    after = run(model, {"x": X}, optimise=False)[0]
    assert report.changed == 1
    assert operators(model) == ["Conv"]
    assert model.graph.outputs[0].name == "y"
    # float32 sums over a fan-in of 27; eps outside the root is off by 1e-2 for the variance of 1e-4
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6 * np.ptp(before))


def test_eps_belongs_inside_the_root() -> None:
    model = parse(WITH_BIAS, weights={"w": normal(4, 3, 3, 3, seed=1), "b": normal(4, seed=3), **STATISTICS})
    FoldBatchNormalization().apply(model)
    folded = stored(model.graph[0].inputs[1])[3]
    exact = normal(4, 3, 3, 3, seed=1)[3].astype(np.float64) * -2.0
    var = float(STATISTICS["var"][3])
    np.testing.assert_allclose(folded, exact / np.sqrt(var + 1e-3), rtol=2e-7)
    assert np.abs(folded - exact / (np.sqrt(var) + 1e-3)).max() > 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            """g (float[2,4,6,6] x) => (float[2,4,6,6] y) {
                y = BatchNormalization (x, scale, shift, mean, var)
            }""",
            "no convolution or linear layer comes before it, and 'y' is an output of the graph",
        ),
        (
            """g (float[2,3,8,8] x) => (float[2,4,6,6] y, float[2,4,6,6] c) {
                c = Conv (x, w)
                y = BatchNormalization (c, scale, shift, mean, var)
            }""",
            "the convolution '/Conv_0' has other consumers, and 'y' is an output of the graph",
        ),
        (
            """g (float[2,3,8,8] x) => (float[2,4,6,6] y) {
                c = Conv (x, w)
                y, m2, v2 = BatchNormalization <training_mode = 1> (c, scale, shift, mean, var)
            }""",
            "it normalises with the statistics of its own input (training form)",
        ),
    ],
    ids=["no convolution", "shared convolution", "training form"],
)
def test_it_leaves_alone_and_names(text: str, reason: str) -> None:
    model = parse(text, opset=15, weights={"w": normal(4, 3, 3, 3), **STATISTICS})
    report = FoldBatchNormalization().apply(model)
    assert report.changed == 0
    assert list(report.left_alone.values()) == [reason]
    assert "BatchNormalization" in operators(model)


LINEAR = {
    "rows of a MatMul": """g (float[2,5,3] x) => (float[2,5,4] y) {
        a = MatMul (x, w) f = Flatten <axis = 2> (a) n = BatchNormalization (f, scale, shift, mean, var)
        y = Reshape (n, shape)
    }""",
    "rows of a MatMul with an offset": """g (float[2,5,3] x) => (float[2,5,4] y) {
        a = MatMul (x, w) o = Add (b, a) f = Flatten <axis = 2> (o)
        n = BatchNormalization (f, scale, shift, mean, var) y = Reshape (n, shape)
    }""",
    "a Gemm": """g (float[6,3] x) => (float[6,4] y) {
        a = Gemm <alpha = 0.5, beta = 3.0> (x, w, b) y = BatchNormalization (a, scale, shift, mean, var)
    }""",
    "a Gemm without offset, turned": """g (float[6,3] x) => (float[6,4] y) {
        a = Gemm <transB = 1> (x, v) y = BatchNormalization (a, scale, shift, mean, var)
    }""",
    "features in front of pixels": """g (float[2,5,3] x) => (float[2,4,5] y) {
        a = MatMul (x, w) t = Transpose <perm = [0, 2, 1]> (a) y = BatchNormalization (t, scale, shift, mean, var)
    }""",
    "a Gemm behind": """g (float[6,4] x) => (float[6,2] y) {
        n = BatchNormalization (x, scale, shift, mean, var) y = Gemm <alpha = 0.5, beta = 3.0> (n, u, c)
    }""",
    "a MatMul behind": """g (float[2,4,5] x) => (float[2,5,2] y) {
        n = BatchNormalization (x, scale, shift, mean, var) t = Transpose <perm = [0, 2, 1]> (n) y = MatMul (t, u)
    }""",
    "a convolution behind": """g (float[2,4,6,6] x) => (float[2,6,4,4] y) {
        n = BatchNormalization (x, scale, shift, mean, var) y = Conv <group = 2> (n, grouped)
    }""",
    "several behind, after means over pixels": """g (float[2,4,6,6] x) => (float[2,3,1,1] y) {
        n = BatchNormalization (x, scale, shift, mean, var) m = GlobalAveragePool (n) a = Conv (m, point)
        p = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [6, 6]> (n) d = Conv (p, point)
        y = Add (a, d)
    }""",
    "one behind the other": """g (float[2,4,6,6] x) => (float[2,3,6,6] y) {
        n = BatchNormalization (x, scale, shift, mean, var) m = BatchNormalization (n, shift, scale, mean, var)
        y = Conv (m, point)
    }""",
}
"""BatchNormalization beside a linear layer, and in front of layers."""


@pytest.mark.parametrize("text", LINEAR.values(), ids=LINEAR)
def test_it_folds_into_linear_layers_and_into_what_reads_it(text: str) -> None:
    every = {
        "w": normal(3, 4, seed=1),
        "v": normal(4, 3, seed=2),
        "b": normal(4, seed=3),
        "u": normal(4, 2, seed=4),
        "c": normal(2, seed=5),
        "grouped": normal(6, 2, 3, 3, seed=6),
        "point": normal(3, 4, 1, 1, seed=7),
        "shape": np.array([2, 5, 4]),
        **STATISTICS,
    }
    weights = {name: array for name, array in every.items() if name in re.findall(r"\w+", text)}
    (shape,) = re.findall(r"float\[([\d,]+)\] x", text)
    x = normal(*map(int, shape.split(",")), seed=8)
    before = run(parse(text, opset=13, weights=weights), {"x": x}, optimise=False)[0]
    model = common_passes.ShapeInferencePass()(parse(text, opset=13, weights=weights)).model
    report = FoldBatchNormalization().apply(model)
    assert report.changed == text.count("BatchNormalization")
    assert not {"BatchNormalization", "Flatten", "Reshape"} & set(operators(model))
    # float32 sums of at most 18 products
    np.testing.assert_allclose(run(model, {"x": x}, optimise=False)[0], before, rtol=0, atol=1e-6 * np.ptp(before))
    assert FoldBatchNormalization().apply(model).changed == 0


def test_the_offset_does_not_go_through_padding() -> None:
    """With the offset in the bias, the border is wrong: padding is 0 behind the normalisation, and not in front."""
    text = """g (float[2,4,6,6] x) => (float[2,4,6,6] y) {
        n = BatchNormalization (x, scale, shift, mean, var) y = Conv <pads = [1, 1, 1, 1]> (n, w)
    }"""
    weights = {"w": normal(4, 4, 3, 3, seed=1), **STATISTICS}
    model = parse(text, weights=weights)
    report = FoldBatchNormalization().apply(model)
    assert report.changed == 0
    (reason,) = report.left_alone.values()
    assert reason.endswith("the convolution '/Conv_1' behind it pads with zeros, which it would move")
    x = normal(2, 4, 6, 6, seed=2)
    right = run(model, {"x": x}, optimise=False)[0]
    node = model.graph[0]
    layers_behind.fold(model.graph, node, [model.graph[1]])
    wrong = run(model, {"x": x}, optimise=False)[0]
    np.testing.assert_allclose(wrong[:, :, 1:-1, 1:-1], right[:, :, 1:-1, 1:-1], atol=1e-5 * np.ptp(right))
    assert np.abs(wrong - right).max() > 0.1

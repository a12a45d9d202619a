"""Inference BatchNormalization goes into the convolution before it, exactly, or is named."""

from __future__ import annotations

import numpy as np
import pytest

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

"""Weight standardisation is folded exactly, whatever operators compute it, or named."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.folds import fold_ws
from nfexport.passes.folds.fold_ws import FoldWeightStandardisation
from tests.passes.graphs import Array, Weight, normal, operators, parse, run, stored

# std 0.01 is where eps matters: at 1.0 every formula agrees
WEIGHT = normal(4, 3, 3, 3, seed=1, scale=0.01) + np.float32(0.004)
GAIN = np.array([0.5, 1.0, 1.5, 2.0], np.float32).reshape(4, 1, 1, 1)
EPS = 1e-5
X = normal(2, 3, 8, 8, seed=2)

SEPARATE_CALLS = """g (float[N,3,8,8] x) => (float[N,4,6,6] y) {
    mean = ReduceMean <axes = [1,2,3]> (w)
    centred = Sub (w, mean)
    squares = Mul (centred, centred)
    var = ReduceMean <axes = [1,2,3]> (squares)
    shifted = Add (var, eps)
    std = Sqrt (shifted)
    unit = Div (centred, std)
    scaled = Mul (unit, gain)
    y = Conv (x, scaled)
}"""

TRAINING_FORM = """g (float[N,3,8,8] x) => (float[N,4,6,6] y) {
    row = Reshape (w, to_row)
    n, m, v = BatchNormalization <epsilon = 0.00001, training_mode = 1> (row, scale, zero, zero, one)
    scaled = Reshape (n, to_weight)
    y = Conv (x, scaled)
}"""

FIVE_OUTPUTS = TRAINING_FORM.replace("n, m, v", "n, m, v, sm, sv").replace(", training_mode = 1", "")


def standardised(*, ddof: int = 0, eps_inside: bool = True) -> Array:
    """gain · (w − mean) / sqrt(var + eps) in float64; the options are the usual mistakes."""
    w = WEIGHT.astype(np.float64)
    mean = w.mean(axis=(1, 2, 3), keepdims=True)
    var = w.var(axis=(1, 2, 3), keepdims=True, ddof=ddof)
    std = np.sqrt(var + EPS) if eps_inside else np.sqrt(var) + EPS
    return np.asarray(GAIN * (w - mean) / std)


def separate_calls(opset: int = 11) -> ir.Model:
    return parse(SEPARATE_CALLS, opset=opset, weights={"w": WEIGHT, "gain": GAIN, "eps": np.float32(EPS)})


def training_form(text: str, opset: int) -> ir.Model:
    return parse(
        text,
        opset=opset,
        weights={
            "w": WEIGHT,
            "scale": GAIN.reshape(-1),
            "zero": np.zeros(4, np.float32),
            "one": np.ones(4, np.float32),
            "to_row": np.array([1, 4, -1]),
            "to_weight": np.array([4, 3, 3, 3]),
        },
    )


def folded_weight(model: ir.Model) -> Array:
    return np.asarray(stored(model.graph[-1].inputs[1]))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(separate_calls(11), id="separate calls, opset 11"),
        pytest.param(separate_calls(17), id="separate calls, opset 17"),
        pytest.param(training_form(FIVE_OUTPUTS, 9), id="BatchNormalization, 5 outputs, opset 9"),
        pytest.param(training_form(FIVE_OUTPUTS, 13), id="BatchNormalization, 5 outputs, opset 13"),
        pytest.param(training_form(TRAINING_FORM, 14), id="BatchNormalization, training_mode, opset 14"),
        pytest.param(training_form(TRAINING_FORM, 17), id="BatchNormalization, training_mode, opset 17"),
    ],
)
def test_every_form_folds_to_the_formula_and_no_wrong_formula_does(model: ir.Model) -> None:
    report = FoldWeightStandardisation().apply(model)
    weight = folded_weight(model)
    assert report.changed == 1
    assert operators(model) == ["Conv"]
    assert weight.dtype == np.float32

    def error(expected: Array) -> float:
        return float(np.abs(weight - expected).max() / np.abs(expected).max())

    # one rounding to float32 costs 6e-8; eps itself is a float32 in the graph
    assert error(standardised()) < 1.5e-7
    assert error(standardised(ddof=1)) > 1e-3
    assert error(standardised(eps_inside=False)) > 1e-3


def test_folding_computes_in_float64_and_rounds_once() -> None:
    model = separate_calls()
    FoldWeightStandardisation().apply(model)
    exact = standardised().astype(np.float32)
    # float32 arithmetic is off in most places; one rounding at most where eps's own rounding tips it over
    assert np.mean(folded_weight(model) != exact) < 0.05


def test_the_folded_graph_computes_what_the_unfolded_one_does() -> None:
    before = run(separate_calls(), {"x": X})[0]
    model = separate_calls()
    FoldWeightStandardisation().apply(model)
    after = run(model, {"x": X})[0]
    # both round in float32, over a fan-in of 27
    np.testing.assert_allclose(after, before, rtol=0, atol=2e-6 * np.ptp(before))


def test_the_weight_keeps_its_parameters_name_and_dead_parameters_go() -> None:
    model = separate_calls()
    FoldWeightStandardisation().apply(model)
    assert list(model.graph.initializers) == ["w"]


def test_folding_twice_changes_nothing_more() -> None:
    model = separate_calls()
    FoldWeightStandardisation().apply(model)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    report = FoldWeightStandardisation().apply(model)
    assert report.changed == 0
    assert report.summary == "no convolution computes its weight; nothing to fold"
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_a_weight_shared_by_two_convolutions_is_folded_once() -> None:
    text = SEPARATE_CALLS.replace(
        "y = Conv (x, scaled)", "a = Conv (x, scaled)\nb = Conv (x, scaled)\ny = Add (a, b)"
    )
    model = parse(text, weights={"w": WEIGHT, "gain": GAIN, "eps": np.float32(EPS)})
    report = FoldWeightStandardisation().apply(model)
    assert report.changed == 2
    assert list(model.graph.initializers) == ["w"]


def test_a_weight_that_depends_on_the_input_is_left_alone_and_named() -> None:
    model = parse(
        """g (float[1,3,8,8] x, float[4,3,3,3] dynamic) => (float[1,4,6,6] y) {
            w2 = Mul (w, dynamic)
            y = Conv (x, w2)
        }""",
        weights={"w": WEIGHT},
    )
    report = FoldWeightStandardisation().apply(model)
    assert report.changed == 0
    assert report.left_alone == {"/Conv_1": "its weight is not constant: it depends on the input 'dynamic'"}


def test_a_training_form_batch_normalization_on_activations_is_not_touched() -> None:
    model = parse(
        """g (float[2,3,8,8] x) => (float[2,3,8,8] y) {
            y, m, v = BatchNormalization <training_mode = 1> (x, one, zero, zero, one)
        }""",
        opset=14,
        weights={"one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32)},
    )
    assert FoldWeightStandardisation().apply(model).changed == 0
    assert operators(model) == ["BatchNormalization"]


def test_a_filter_without_variance_or_eps_is_refused_by_name() -> None:
    weights: dict[str, Weight] = {"w": np.ones((4, 3, 3, 3), np.float32), "gain": GAIN, "eps": np.float32(0)}
    with pytest.raises(PassError, match=r"the standardised weight of node '/Conv_8' is not finite") as caught:
        FoldWeightStandardisation().apply(parse(SEPARATE_CALLS, weights=weights))
    assert "checkpoint" in caught.value.fix


def test_a_source_goes_before_the_next_weight_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All weights twice would be twice the memory."""
    model = parse(
        """g (float[N,3,8,8] x) => (float[N,3,8,8] y) {
            m = ReduceMean <axes = [1,2,3]> (v)
            a = Sub (v, m)
            p = Conv <pads = [1,1,1,1]> (x, a)
            n = ReduceMean <axes = [1,2,3]> (w)
            b = Sub (w, n)
            q = Conv <pads = [1,1,1,1]> (p, b)
            y = Conv <pads = [1,1,1,1]> (q, a)
        }""",
        weights={"v": normal(3, 3, 3, 3, seed=1), "w": normal(3, 3, 3, 3, seed=2)},
    )
    seen = []
    fold = fold_ws._fold

    def watched(graph: ir.Graph, *rest: Any) -> Any:
        seen.append(sorted(name for name in ("v", "w") if name in graph.initializers))
        return fold(graph, *rest)

    monkeypatch.setattr(fold_ws, "_fold", watched)
    assert FoldWeightStandardisation().apply(model).changed == 3
    assert seen == [["v", "w"], ["v", "w"]]  # the third reads the first weight, which so has to stay
    assert sorted(model.graph.initializers) == ["v", "w"]
    seen.clear()
    chain = separate_calls()
    FoldWeightStandardisation().apply(chain)
    assert seen == [["w"]]
    one_by_one = parse(
        """g (float[N,3,8,8] x) => (float[N,3,8,8] y) {
            m = ReduceMean <axes = [1,2,3]> (v)
            a = Sub (v, m)
            p = Conv <pads = [1,1,1,1]> (x, a)
            n = ReduceMean <axes = [1,2,3]> (w)
            b = Sub (w, n)
            y = Conv <pads = [1,1,1,1]> (p, b)
        }""",
        weights={"v": normal(3, 3, 3, 3, seed=1), "w": normal(3, 3, 3, 3, seed=2)},
    )
    seen.clear()
    FoldWeightStandardisation().apply(one_by_one)
    assert seen == [["v", "w"], ["w"]]
    assert operators(one_by_one) == ["Conv", "Conv"]

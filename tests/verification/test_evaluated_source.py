"""Surgery's reference: the source computed by PyTorch in float64, or by ONNX Runtime where PyTorch cannot."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.verification.surgery.evaluated_source import evaluate_source, why_not_evaluated
from nfexport.verification.surgery.source_comparison import Surgery, compare_with_source
from nfexport.verification.tolerance import UNIT
from nfexport.verification.verification_report import VerificationReport
from tests.passes.graphs import Weight, normal, parse

TEXT = "g (float[{n}, 16] x) => (float[{n}, 16] y) {{ h = MatMul(x, w) s = Sin(h) y = MatMul(s, w) }}"
QUANTISED = (
    "g (float[3, 16] x) => (float[3, 16] y)"
    "{ h = MatMul(x, w) q = QuantizeLinear(h, scale, zero) y = DequantizeLinear(q, scale, zero) }"
)


def network(size: object = "N", factor: float = 1.0) -> ir.Model:
    return parse(TEXT.format(n=size), opset=13, weights={"w": normal(16, 16) * np.float32(factor)})


def compared(source: ir.Model, result: ir.Model) -> VerificationReport:
    done = Surgery(steps=(), known=None, precision="float32")
    return compare_with_source(source, ir.to_proto(result).SerializeToString(), done, front=())


def test_the_source_is_computed_in_float64_and_the_yardstick_in_float32() -> None:
    x = normal(4, 16, seed=3)
    ((expected, runs),) = evaluate_source(network(), [{"x": x}], extra=["h"], unit=UNIT)
    weight = normal(16, 16).astype(np.float64)
    np.testing.assert_allclose(expected["y"], np.sin(x @ weight) @ weight, rtol=0, atol=1e-13)
    np.testing.assert_allclose(expected["h"], x @ weight, rtol=0, atol=1e-13)
    assert runs[0] is expected
    assert [run["y"].dtype for run in runs[1:]] == [np.float32] * len(runs[1:])
    assert len(runs) >= 3
    assert all(1e-8 < np.abs(run["y"] - expected["y"]).max() < 1e-4 for run in runs[1:])


def test_a_fixed_batch_is_run_as_often_as_needed() -> None:
    x = normal(4, 16, seed=3)
    ((whole, _),) = evaluate_source(network(), [{"x": x}], extra=[], unit=UNIT)
    ((parts, runs),) = evaluate_source(network(2), [{"x": x}], extra=[], unit=UNIT)
    assert runs[1]["y"].shape == (4, 16)
    np.testing.assert_allclose(parts["y"], whole["y"], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (1.003, False)])
def test_a_weight_that_is_off_by_a_third_of_a_percent_is_noticed(factor: float, passed: bool) -> None:
    report = compared(network(3), network(3, factor))
    assert report.passed is passed
    assert report.tolerance.endswith("the input file in PyTorch")


def test_onnx_runtime_stands_in_and_the_report_says_why() -> None:
    weights: dict[str, Weight] = {"w": normal(16, 16), "scale": np.float32(0.1), "zero": np.int8(0)}
    model = parse(QUANTISED, opset=13, weights=weights)
    assert why_not_evaluated(network()) is None
    report = compared(model, model)
    assert report.passed
    assert report.tolerance.endswith("in ONNX Runtime, as QuantizeLinear rounds to whole steps")

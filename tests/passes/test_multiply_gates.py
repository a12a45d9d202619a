from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.passes.rewrites.multiply_gates import MultiplyGates
from tests.passes.graphs import normal, operators, parse, run

GATE = """g (float[n,512,5,7] x) => (float[n,512,5,7] y{more}) {{
    p = GlobalAveragePool(x)
    a = Conv(p, w1, b1)
    {between}
    b = Conv(r, w2)
    s = Sigmoid(b)
    y = Mul(x, s)
}}"""


def gate(between: str = "r = Relu(a)", *, hidden: int = 768, more: str = "") -> ir.Model:
    weights = {
        "w1": normal(hidden, 512, 1, 1, seed=1, scale=0.05),
        "b1": normal(hidden, seed=2),
        "half": np.array(0.5, np.float32),
        "flat": np.array([0, -1]),
        "w2": normal(512, hidden, 1, 1, seed=3, scale=0.05),
    }
    return with_shapes(parse(GATE.format(between=between, more=more), weights=weights))


def with_shapes(model: ir.Model) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True))


@pytest.mark.parametrize("between", ["r = Relu(a)", "t = Sigmoid(a)  r = Mul(a, t)", "r = Mul(a, half)"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_gate_becomes_products_with_one_reshape_at_each_end(between: str, batch: int) -> None:
    model = gate(between)
    x = normal(batch, 512, 5, 7)
    (before,) = run(model, {"x": x})
    report = MultiplyGates().apply(model)
    assert report.changed == 2
    found = operators(model)
    assert [found.count(kind) for kind in ("Conv", "MatMul", "Reshape")] == [0, 2, 2]
    assert model.graph.initializers["w1"].shape == ir.Shape([768, 512])
    (after,) = run(model, {"x": x})
    # sums of 512 and 768 products in another order
    assert np.abs(after - before).max() < 2e-6 * np.abs(before).max()
    assert MultiplyGates().apply(model).changed == 0


def test_a_wrong_product_would_show() -> None:
    model = gate()
    x = normal(2, 512, 5, 7)
    (before,) = run(model, {"x": x})
    MultiplyGates().apply(model)
    weight = model.graph.initializers["w1"]
    weight.const_value = ir.tensor(weight.const_value.numpy()[::-1].copy(), name="w1")  # type: ignore[union-attr]
    (after,) = run(model, {"x": x})
    assert np.abs(after - before).max() > 1e-3 * np.abs(before).max()


def test_what_somebody_else_reads_too_stays_a_pixel() -> None:
    model = gate("r = Relu(a)  q = Reshape(r, flat)", more=", float[n,768] q")
    (relu,) = (node for node in model.graph if node.op_type == "Relu")
    x = normal(2, 512, 5, 7)
    before = run(model, {"x": x})
    assert MultiplyGates().apply(model).changed == 2
    assert relu in list(model.graph)
    for expected, got in zip(before, run(model, {"x": x}), strict=True):
        assert np.abs(got - expected).max() < 2e-6 * np.abs(expected).max()


def test_small_gates_and_maps_stay_without_a_word() -> None:
    for model in (
        gate(hidden=256),
        with_shapes(
            parse(
                "g (float[n,512,2,2] x) => (float[n,768,2,2] y) { y = Conv(x, w) }",
                weights={"w": normal(768, 512, 1, 1)},
            )
        ),
    ):
        before = operators(model)
        report = MultiplyGates().apply(model)
        assert (report.changed, report.left_alone) == (0, {})
        assert operators(model) == before


@pytest.mark.parametrize(
    ("body", "weights", "reason"),
    [
        ("y = Conv<group=2>(p, w)", {"w": normal(1024, 256, 1, 1)}, "it has groups"),
        (
            "v = Mul(w, w)  y = Conv(p, v)",
            {"w": normal(1024, 512, 1, 1)},
            "its weight is computed at run time; fold it first",
        ),
        (
            "y = Conv<strides=[7,7]>(x, w)",
            {"w": normal(1024, 512, 1, 1)},
            "it is not known to read a single pixel",
        ),
    ],
)
def test_others_stay_and_are_named(body: str, weights: dict[str, np.ndarray], reason: str) -> None:
    text = f"g (float[n,512,7,7] x) => (float[n,1024,1,1] y) {{ p = GlobalAveragePool(x)  {body} }}"
    model = with_shapes(parse(text, weights=weights))
    assert list(MultiplyGates().apply(model).left_alone.values()) == [reason]
    assert "MatMul" not in operators(model)

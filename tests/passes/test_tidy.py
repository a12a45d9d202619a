"""Idle nodes go, and what a body returns stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.passes.cleanup.tidy import Tidy
from tests.passes.graphs import normal, operators, parse, run

BRANCH = """g (float[2,3] x, bool flip) => (float[2,3] y) {
    scale = If (flip) <
        then_branch = t () => (float[3] t1) { t0 = Neg (w)  t1 = Identity (t0) },
        else_branch = e () => (float[3] e1) { e1 = Identity (w) }>
    z = Mul (x, scale)
    y = Identity (z)
}"""


@pytest.mark.parametrize("flip", [True, False])
def test_a_body_keeps_the_identity_by_which_it_returns_an_outer_value(flip: bool) -> None:
    weights = {"w": normal(3)}
    model, x = parse(BRANCH, opset=17, weights=weights), normal(2, 3, seed=1)
    Tidy().apply(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert operators(model) == ["If", "Mul"]
    names = [node.op_type for node in model.graph.all_nodes()]
    assert sorted(names) == ["Identity", "If", "Mul", "Neg"]
    sign = -1 if flip else 1
    np.testing.assert_array_equal(run(model, {"x": x, "flip": np.array(flip)})[0], sign * x * weights["w"])

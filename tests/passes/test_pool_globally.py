from __future__ import annotations

import numpy as np
import pytest

from nfexport.passes.rewrites.pool_globally import PoolGlobally
from tests.passes.graphs import normal, operators, parse, run


@pytest.mark.parametrize("axes", ["[2,3]", "[3,2]", "[-1,-2]"])
def test_a_mean_over_pixels_becomes_a_pooling(axes: str) -> None:
    model = parse(f"g (float[n,3,5,7] x) => (float[n,3,1,1] y) {{ y = ReduceMean<axes={axes}>(x) }}")
    x = normal(2, 3, 5, 7)
    (before,) = run(model, {"x": x})
    report = PoolGlobally().apply(model)
    assert report.changed == 1
    assert operators(model) == ["GlobalAveragePool"]
    (after,) = run(model, {"x": x})
    assert np.abs(after - before).max() < 1e-7  # a mean of 35 numbers near 0 to 0.2, in another order
    assert PoolGlobally().apply(model).changed == 0


def test_axes_as_an_input_go_with_it() -> None:
    body = "g (float[n,3,5,7] x) => (float[n,4,1,1] z) { y = ReduceMean<keepdims=1>(x, axes)  z = Conv(y, w) }"
    model = parse(body, opset=18, weights={"axes": np.array([2, 3]), "w": normal(4, 3, 1, 1)})
    assert PoolGlobally().apply(model).changed == 1
    assert "axes" not in model.graph.initializers
    run(model, {"x": normal(2, 3, 5, 7)})


@pytest.mark.parametrize(
    ("shape", "result", "attributes"),
    [
        ("n,3,5,7", "n,3", "axes=[2,3], keepdims=0"),
        ("n,3,5,7", "n,1,1,1", "axes=[1,2,3]"),
        ("n,3,5,7", "n,3,5,1", "axes=[3]"),
        ("n,3,5", "n,1,1", "axes=[1,2]"),
        ("n,3,5,7", "1,1,1,1", "keepdims=1"),
    ],
)
def test_other_means_stay(shape: str, result: str, attributes: str) -> None:
    model = parse(f"g (float[{shape}] x) => (float[{result}] y) {{ y = ReduceMean<{attributes}>(x) }}")
    assert PoolGlobally().apply(model).changed == 0
    assert operators(model) == ["ReduceMean"]


def test_a_value_of_unknown_rank_is_named() -> None:
    model = parse("g (float[n,3,5,7] x) => (float[n,3,1,1] y) { a = Relu(x)  y = ReduceMean<axes=[2,3]>(a) }")
    assert list(PoolGlobally().apply(model).left_alone.values()) == ["the shape of its input is unknown"]

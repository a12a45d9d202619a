"""Half the bytes, at the price of float16's rounding and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import pytest

import nfexport
from nfexport.errors import PassError
from nfexport.passes.precision.precision import LowerPrecision
from tests.passes.graphs import normal, operators, parse, run, stored

Form = Literal["fp16", "fp16-weights"]

BODY = """
g (float[batch, 3, 8, 8] x) => (float[batch, 4, 8, 8] y)
<float[4, 3, 3, 3] w, float[4] b> { c = Conv <pads = [1, 1, 1, 1]> (x, w, b)  y = Relu(c) }
"""
X = normal(2, 3, 8, 8)


def model(scale: float = 1.0, opset: int = 11) -> ir.Model:
    return parse(BODY, opset=opset, weights={"w": normal(4, 3, 3, 3, seed=1, scale=scale), "b": normal(4, seed=2)})


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize("form", ["fp16", "fp16-weights"])
def test_it_is_near_the_float32_graph(form: Form, opset: int) -> None:
    before = run(model(opset=opset), {"x": X})[0]
    graph = model(opset=opset)
    LowerPrecision(form=form).apply(graph)
    after = run(graph, {"x": X})[0]
    assert after.dtype == np.float32
    # 28 products, each off by a rounding of 2⁻¹¹ at most, twice that for the result's own
    error = np.abs(after - before).max() / np.abs(before).max()
    assert 0 < error < 2.0**-9


@pytest.mark.parametrize("form", ["fp16", "fp16-weights"])
def test_a_second_time_changes_nothing(form: Form) -> None:
    graph = model()
    LowerPrecision(form=form).apply(graph)
    names = operators(graph)
    assert LowerPrecision(form=form).apply(graph).facts["bytes_after"] == sum(
        stored(value).nbytes for value in graph.graph.initializers.values()
    )
    assert operators(graph) == names


@pytest.mark.parametrize("scale", [1e6, 1e-7])
@pytest.mark.parametrize("form", ["fp16", "fp16-weights"])
def test_what_float16_cannot_hold_stays_and_is_named(form: Form, scale: float) -> None:
    graph = model(scale)
    report = LowerPrecision(form=form).apply(graph)
    assert report.left_alone
    assert all("float16" in reason for reason in report.left_alone.values())
    before, after = run(model(scale), {"x": X})[0], run(graph, {"x": X})[0]
    assert np.abs(after - before).max() <= 2.0**-9 * np.abs(before).max()


def test_a_layer_that_comes_near_the_range_stays() -> None:
    graph = model(3000.0)
    report = LowerPrecision(form="fp16").apply(graph)
    assert "its output comes near float16's range" in report.left_alone.values()
    before, after = run(model(3000.0), {"x": X})[0], run(graph, {"x": X})[0]
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() <= 2.0**-9 * np.abs(before).max()


def test_another_form_is_refused() -> None:
    with pytest.raises(PassError, match="'bf16' is not a precision; pass --precision fp16 or fp16-weights"):
        LowerPrecision(form="bf16").apply(model())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("test_nfnet", "fp16"),
        ("test_vit", "fp16-weights"),
        ("test_efficientnet", "fp16"),
        pytest.param("test_nfnet", "fp16-weights", marks=pytest.mark.slow),
        pytest.param("test_vit", "fp16", marks=pytest.mark.slow),
        pytest.param("test_efficientnet", "fp16-weights", marks=pytest.mark.slow),
    ],
)
def test_networks_take_half_the_bytes_and_verify(name: str, form: Form, tmp_path: Path) -> None:
    whole = nfexport.export(name, tmp_path / "a.onnx", fold_ws=True, verify=False)
    half = nfexport.export(name, tmp_path / "b.onnx", fold_ws=True, precision=form)
    assert half.verification is not None
    assert half.verification.passed
    assert 0.5 <= half.facts.initializer_bytes / whole.facts.initializer_bytes < 0.52
    assert "float16" in half.verification.summary()


def test_a_wrong_weight_is_noticed_in_float16_too(tmp_path: Path) -> None:
    """The yardstick is float16's rounding, so a filter of the other sign is far beyond it."""
    path = tmp_path / "m.onnx"
    nfexport.export("test_nfnet", path, fold_ws=True, precision="fp16")
    graph = ir.load(path)
    value = next(v for v in graph.graph.initializers.values() if stored(v).ndim == 4 and stored(v).shape[0] == 64)
    array = stored(value).copy()
    array[0] *= -1
    value.const_value = ir.Tensor(array, name=value.name)
    ir.save(graph, tmp_path / "wrong.onnx")
    assert nfexport.verify(path).passed
    assert not nfexport.verify(tmp_path / "wrong.onnx").passed

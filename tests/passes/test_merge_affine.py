from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from nfexport.passes.rewrites import merge_affine
from nfexport.passes.rewrites.merge_affine import MergeAffine
from tests.passes.graphs import Array, normal, operators, parse, run

ROUNDING = 1e-6
"""Of the largest output: one product and one sum, of numbers that are normalised."""


def normalised(
    affine: str, *, channels: int = 32, a: Array | None = None, b: Array | None = None, result: str = "y"
) -> ir.Model:
    """A group normalisation of 8 groups as exporters write it; affine makes y from r."""
    body = f"""g (float[n,{channels},5,7] x) => (float[n,{channels},5,7] {result}) {{
        g = Reshape(x, groups)
        i = InstanceNormalization<epsilon=0.00001>(g, ones, zeros)
        r = Reshape(i, back)
        {affine}
    }}"""
    weights = {
        "groups": np.array([0, 8, -1]),
        "back": np.array([-1, channels, 5, 7]),
        "ones": np.ones(8, np.float32),
        "zeros": np.zeros(8, np.float32),
        "a": normal(channels, 1, 1, seed=1) if a is None else a,
        "b": normal(channels, 1, 1, seed=2) if b is None else b,
    }
    return ShapeInferencePass()(parse(body, weights=weights)).model


BOTH = "m = Mul(r, a)  y = Add(m, b)"


@pytest.mark.parametrize(
    "affine", [BOTH, "m = Mul(a, r)  y = Add(b, m)", "y = Add(r, b)", "m = Mul(r, a)  s = Add(m, b)  y = Relu(s)"]
)
def test_scale_and_offset_become_one_convolution(affine: str) -> None:
    model, x = normalised(affine), normal(2, 32, 5, 7)
    (before,) = run(model, {"x": x})
    report = MergeAffine().apply(model)
    assert report.changed == 1
    assert operators(model)[:4] == ["Reshape", "InstanceNormalization", "Reshape", "Conv"]
    assert not {"Mul", "Add"} & set(operators(model))
    (after,) = run(model, {"x": x})
    assert np.abs(after - before).max() < ROUNDING * np.abs(before).max()
    assert MergeAffine().apply(model).changed == 0


def test_one_number_for_all_channels() -> None:
    model = normalised(BOTH, a=np.array(2.5, np.float32), b=np.array([0.5], np.float32))
    x = normal(2, 32, 5, 7)
    (before,) = run(model, {"x": x})
    assert MergeAffine().apply(model).changed == 1
    assert np.abs(run(model, {"x": x})[0] - before).max() < ROUNDING * np.abs(before).max()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (normalised(BOTH, channels=24), "its 24 channels are not a multiple of 16"),
        (normalised(BOTH, b=normal(32, 5, 7)), "it varies along more than its channels"),
        (normalised(BOTH, a=normal(7)), "it varies along more than its channels"),
        (normalised(BOTH, a=normal(1, 5, 1)), "it varies along more than its channels"),
    ],
)
def test_what_has_no_fast_convolution_is_named(model: ir.Model, reason: str) -> None:
    report = MergeAffine().apply(model)
    assert list(report.left_alone.values()) == [reason]
    assert "Conv" not in operators(model)


@pytest.mark.parametrize(
    "affine",
    [
        "y = Mul(r, a)",
        "y = Add(r, x)",
        "m = Mul(r, a)  s = Add(m, b)  y = Add(s, m)",
    ],
)
def test_what_is_no_affine_map_of_its_own_stays(affine: str) -> None:
    model = normalised(affine)
    before = operators(model)
    assert MergeAffine().apply(model).changed == 0
    assert operators(model) == before


def test_a_wrong_scale_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = normalised(BOTH), normal(2, 32, 5, 7)
    (before,) = run(model, {"x": x})
    monkeypatch.setattr(merge_affine, "_per_channel", lambda array, channels: array.ravel()[::-1].copy())
    MergeAffine().apply(model)
    assert np.abs(run(model, {"x": x})[0] - before).max() > 0.1

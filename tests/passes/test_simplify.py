"""onnxsim's work is kept only where it is no loss."""

from __future__ import annotations

import builtins
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nfexport.errors import MissingPackage
from nfexport.passes.finish import simplify
from nfexport.passes.finish.simplify import Simplify
from tests.passes.graphs import normal, operators, parse, run

WASTEFUL = """
g (float[batch, 4] x) => (float[batch, 4] y)
<float[4] a, float[4] b> { c = Add(a, b)  d = Identity(x)  e = Add(d, c)  f = Neg(e)  y = Neg(f) }
"""

GELU = """
g (float[batch, 16] x) => (float[batch, 16] y)
<float s, float one, float half>
{ d = Div(x, s)  e = Erf(d)  p = Add(e, one)  m = Mul(x, p)  y = Mul(m, half) }
"""


def weights() -> dict[str, np.ndarray]:
    return {"a": normal(4), "b": normal(4, seed=1)}


def test_what_it_saves_is_kept_and_told() -> None:
    pytest.importorskip("onnxsim")
    model = parse(WASTEFUL, opset=13, weights=weights())
    x = normal(3, 4, seed=2)
    before = run(model, {"x": x})[0]
    report = Simplify().apply(model)
    assert report.facts["kept"]
    assert len(operators(model)) < 5
    assert not any(node.op_type == "Constant" for node in model.graph)
    np.testing.assert_array_equal(run(model, {"x": x})[0], before)


def test_what_runtimes_fuse_is_not_taken_apart() -> None:
    pytest.importorskip("onnxsim")
    scalars = {"s": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    model = parse(GELU, opset=13, weights={name: np.array(value) for name, value in scalars.items()})
    before = operators(model)
    report = Simplify().apply(model)
    assert report.changed == 0, report.summary
    assert operators(model) == before


def test_more_nodes_for_the_runtime_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxsim")
    counts = iter([3, 4])
    monkeypatch.setattr(simplify, "_optimised_nodes", lambda _: next(counts))
    model = parse(WASTEFUL, opset=13, weights=weights())
    report = Simplify().apply(model)
    assert report.summary == "unchanged: ONNX Runtime's optimiser leaves 4 nodes, and 3 of the original graph"
    assert operators(model) == ["Add", "Identity", "Add", "Neg", "Neg"]


def test_without_onnxsim_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> ModuleType:
        if name == "onnxsim":
            raise ImportError("No module named 'onnxsim'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackage, match=r"pip install 'nfexport\[simplify\]'"):
        Simplify().apply(parse(WASTEFUL, opset=13, weights=weights()))

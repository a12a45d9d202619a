"""What depends on constants alone is computed once; weights that are standardised stay for fold-ws."""

from __future__ import annotations

import numpy as np

from nfexport.passes.cleanup.fold_constants import FoldConstants
from nfexport.passes.folds import fold_ws
from tests.passes.graphs import normal, operators, parse, run, stored
from tests.passes.test_fold_ws import separate_calls


def test_a_transposed_weight_is_stored_transposed() -> None:
    weight = normal(5, 3)
    model = parse(
        """g (float[N,3] x) => (float[N,5] y) {
            t = Transpose <perm = [1,0]> (w)
            y = MatMul (x, t)
        }""",
        weights={"w": weight},
    )
    FoldConstants().apply(model)
    x = normal(2, 3, seed=4)
    assert operators(model) == ["MatMul"]
    assert list(model.graph.initializers) == ["w.T"]
    np.testing.assert_allclose(run(model, {"x": x})[0], x @ weight.T, rtol=1e-5)


def test_standardised_weights_are_left_to_fold_ws() -> None:
    model = separate_calls()
    FoldConstants().apply(model)
    assert fold_ws.computed_weights(model) == 1


def test_constant_nodes_become_initializers_of_the_same_shape() -> None:
    model = parse(
        """g (float[N,3] x) => (float[N,3] y) {
            half = Constant <value = float {0.5}> ()
            y = Mul (x, half)
        }"""
    )
    FoldConstants().apply(model)
    assert operators(model) == ["Mul"]
    assert stored(model.graph.initializers["half"]).shape == ()


def test_a_large_expansion_of_a_small_constant_stays_in_the_graph() -> None:
    model = parse(
        """g (float[1000,1000] x) => (float[1000,1000] y) {
            e = Expand (one, shape)
            y = Mul (x, e)
        }""",
        weights={"one": np.ones(1, np.float32), "shape": np.array([1000, 1000])},
    )
    FoldConstants().apply(model)
    assert operators(model) == ["Expand", "Mul"]


def test_integers_stay_integers_and_division_truncates_as_onnx_has_it() -> None:
    model = parse(
        """g (float[4,6] x) => (float[a,b] y) {
            half = Div (six, two)
            target = Concat <axis = 0> (minus, half)
            y = Reshape (x, target)
        }""",
        weights={"six": np.array([7]), "two": np.array([2]), "minus": np.array([-1])},
    )
    FoldConstants().apply(model)
    assert operators(model) == ["Reshape"]
    assert run(model, {"x": normal(4, 6)})[0].shape == (8, 3)

"""Shapes computed from the batch become constants that hold for every batch."""

from __future__ import annotations

import numpy as np

from nfexport.passes.cleanup.drop_expand import DropExpand
from nfexport.passes.cleanup.fold_constants import FoldConstants
from nfexport.passes.cleanup.static_shapes import StaticShapes
from nfexport.passes.cleanup.tidy import Tidy
from tests.passes.graphs import normal, operators, parse, run

FLATTEN = """g (float[batch,4,3,3] x) => (float[batch,c] y) {
    s = Shape (x)
    n = Gather <axis = 0> (s, zero)
    n1 = Unsqueeze <axes = [0]> (n)
    target = Concat <axis = 0> (n1, c36)
    y = Reshape (x, target)
}"""

GATE = """g (float[batch,4,3,3] x) => (float[batch,4,3,3] y) {
    m = GlobalAveragePool (x)
    s = Shape (m)
    n = Gather <axis = 0> (s, zero)
    n1 = Unsqueeze <axes = [0]> (n)
    target = Concat <axis = 0> (n1, one, minus)
    r = Reshape (m, target)
    s2 = Shape (r)
    n2 = Gather <axis = 0> (s2, zero)
    n3 = Unsqueeze <axes = [0]> (n2)
    target2 = Concat <axis = 0> (n3, minus, one, one)
    g = Reshape (r, target2)
    s3 = Shape (x)
    e = Expand (g, s3)
    y = Mul (x, e)
}"""

CONSTANTS = {
    "zero": np.array(0),
    "c36": np.array([36]),
    "one": np.array([1]),
    "minus": np.array([-1]),
}


def test_a_flatten_by_hand_becomes_one_reshape() -> None:
    model = parse(FLATTEN, weights=CONSTANTS)
    StaticShapes().apply(model)
    assert operators(model) == ["Reshape"]
    for batch in (1, 3):
        x = normal(batch, 4, 3, 3)
        np.testing.assert_array_equal(run(model, {"x": x})[0], x.reshape(batch, -1))


def test_an_attention_gate_loses_its_shape_arithmetic_and_its_expand() -> None:
    x = normal(3, 4, 3, 3)
    before = run(parse(GATE, weights=CONSTANTS), {"x": x})[0]
    model = parse(GATE, weights=CONSTANTS)
    for item in (Tidy(), FoldConstants(), DropExpand(), StaticShapes()):
        item(model)
    assert operators(model) == ["GlobalAveragePool", "Reshape", "Reshape", "Mul"]
    np.testing.assert_array_equal(run(model, {"x": x})[0], before)


def test_symbols_that_shape_inference_invented_are_not_trusted() -> None:
    """Two unknown sizes may both be called unk__0: they need not be equal."""
    model = parse(
        """g (float[batch,4] x, float[other,4] z) => (float[a,b,c] y) {
            s = Shape (z)
            n = Gather <axis = 0> (s, zero)
            n1 = Unsqueeze <axes = [0]> (n)
            target = Concat <axis = 0> (n1, minus, one)
            y = Reshape (x, target)
        }""",
        weights=CONSTANTS,
    )
    StaticShapes().apply(model)
    x, z = normal(6, 4), normal(3, 4)
    assert run(model, {"x": x, "z": z})[0].shape == (3, 8, 1)


def test_an_expand_over_the_batch_keeps_one_short_chain() -> None:
    model = parse(
        """g (float[batch,7,5] x) => (float[batch,1,5] y) {
            s = Shape (x)
            n = Gather <axis = 0> (s, zero)
            n1 = Unsqueeze <axes = [0]> (n)
            target = Concat <axis = 0> (n1, minus, minus)
            ones = ConstantOfShape <value = int64[1] {1}> (three)
            same = Equal (target, minus3)
            sizes = Where (same, ones, target)
            y = Expand (token, sizes)
        }""",
        weights={**CONSTANTS, "three": np.array([3]), "minus3": np.array([-1] * 3), "token": normal(1, 1, 5)},
    )
    StaticShapes().apply(model)
    assert operators(model) == ["Shape", "Gather", "Concat", "Expand"]
    np.testing.assert_array_equal(run(model, {"x": normal(4, 7, 5)})[0], np.broadcast_to(normal(1, 1, 5), (4, 1, 5)))


def test_nodes_without_names_get_shapes_with_different_names() -> None:
    """Two Expands of a file whose producer names no node."""
    text = """g (float[batch,1] x, float[batch,1] z) => (float[batch,4] y, float[batch,4] w) {
        s = Shape (x)
        n = Gather <axis = 0> (s, zero)
        n1 = Unsqueeze <axes = [0]> (n)
        t = Concat <axis = 0> (n1, four)
        c = Equal (t, minus)
        target = Where (c, one, t)
        y = Expand (x, target)
        w = Expand (z, target)
    }"""
    model = parse(text, weights={**CONSTANTS, "four": np.array([4])})
    for node in model.graph:
        node.name = ""
    StaticShapes().apply(model)
    names = [output.name for node in model.graph for output in node.outputs]
    assert len(names) == len(set(names))
    x = normal(2, 1)
    np.testing.assert_array_equal(run(model, {"x": x, "z": x})[1], np.repeat(x, 4, 1))

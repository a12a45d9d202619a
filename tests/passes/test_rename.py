"""Inputs and outputs get other names; every number stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.interface.rename import Rename
from nfexport.recipe.opsets import newest_opset
from tests.passes.graphs import Array, normal, parse, run

TWO = """g (float[N,3] a, float[N,3] b) => (float[N,3] sum, float[N,3] difference) {
    sum = Add (a, b)
    difference = Sub (a, b)
}"""
BRANCH = """g (bool c, float[2] x) => (float[2] y) {
    d = Relu (x)
    y = If (c) <
        then_branch = t () => (float[2] t1) { t1 = Add (d, x) },
        else_branch = e () => (float[2] e1) { e1 = Neg (x) }>
}"""


def named(model: ir.Model) -> tuple[list[str | None], list[str | None]]:
    return [value.name for value in model.graph.inputs], [value.name for value in model.graph.outputs]


@pytest.mark.parametrize("opset", [11, 13, 17, 18, newest_opset()])
def test_inputs_and_outputs_are_renamed_at_once(opset: int) -> None:
    a, b = normal(2, 3), normal(2, 3, seed=1)
    model = parse(TWO, opset=opset)
    report = Rename(names={"a": "b", "b": "a", "sum": "total"}).apply(model)
    assert named(model) == (["b", "a"], ["total", "difference"])
    assert report.changed == 3
    assert report.summary == "'a' is now 'b', 'b' is now 'a', 'sum' is now 'total'"
    # the first input is called b now: read by the old names, the difference would have the other sign
    np.testing.assert_array_equal(run(model, {"b": a, "a": b})[1], a - b)
    assert not np.array_equal(run(model, {"a": a, "b": b})[1], a - b)


def test_outputs_can_be_swapped() -> None:
    model = parse(TWO)
    Rename(names={"sum": "difference", "difference": "sum"}).apply(model)
    a, b = normal(2, 3), normal(2, 3, seed=1)
    np.testing.assert_array_equal(run(model, {"a": a, "b": b})[0], a + b)
    assert named(model)[1] == ["difference", "sum"]


def test_a_body_goes_on_reading_the_renamed_input() -> None:
    model = parse(BRANCH)
    Rename(names={"x": "image", "c": "flip"}).apply(model)
    x = normal(2)
    np.testing.assert_array_equal(run(model, {"flip": np.array(False), "image": x})[0], -x)
    np.testing.assert_array_equal(run(model, {"flip": np.array(True), "image": x})[0], np.maximum(x, 0) + x)


def test_an_output_that_is_an_initializer_keeps_its_data() -> None:
    weights: dict[str, Array] = {"first": normal(2), "w": normal(2, seed=1), "last": normal(2, seed=2)}
    model = parse(
        "g (float[2] x) => (float[2] y, float[2] w) { t = Add (x, last)\n y = Mul (t, first) }", weights=weights
    )
    Rename(names={"w": "y", "y": "w"}).apply(model)
    assert list(model.graph.initializers) == ["first", "y", "last"]
    product, weight = run(model, {"x": np.ones(2, np.float32)})
    np.testing.assert_array_equal(weight, weights["w"])
    np.testing.assert_allclose(product, (1 + weights["last"]) * weights["first"], rtol=1e-6)
    assert named(model)[1] == ["w", "y"]


def test_an_input_with_a_default_keeps_it() -> None:
    model = parse("g (float[2] x, float[2] w) => (float[2] y) { y = Mul (x, w) }", weights={"w": normal(2)})
    Rename(names={"w": "gain"}).apply(model)
    x = normal(2, seed=1)
    np.testing.assert_array_equal(run(model, {"x": x})[0], x * normal(2))
    np.testing.assert_array_equal(run(model, {"x": x, "gain": np.ones(2, np.float32)})[0], x)


def test_a_tensor_that_is_input_and_output_has_one_name() -> None:
    model = parse("g (float[2] x) => (float[2] x, float[2] y) { y = Relu (x) }")
    Rename(names={"x": "image"}).apply(model)
    assert named(model) == (["image"], ["image", "y"])


def test_the_names_that_are_there_already_change_nothing() -> None:
    report = Rename(names={"a": "a"}).apply(parse(TWO))
    assert (report.changed, report.summary) == (0, "every name was so already")


@pytest.mark.parametrize(
    ("graph", "names", "message"),
    [
        (
            TWO,
            {"summ": "x"},
            r"no input or output 'summ'; did you mean 'sum'\?; name one of the inputs 'a', 'b' or of the outputs",
        ),
        (TWO, {"a": "b"}, "'a' cannot be named 'b', as an input has that name; pass another name, or rename 'b' too"),
        (TWO, {"a": "c", "b": "c"}, "'a' and 'b' cannot both be named 'c'; pass two names"),
        (TWO, {"a": ""}, "'a' cannot be named '', which is empty or has blanks at its ends"),
        (TWO, {"a": "c "}, "'a' cannot be named 'c ', which is empty or has blanks at its ends"),
        (
            BRANCH,
            {"d": "e"},
            "'d' is a tensor inside the graph; name one of the inputs 'c', 'x' or of the outputs 'y'",
        ),
        (
            BRANCH,
            {"x": "d"},
            "'x' cannot be named 'd', as an output of node '/Relu_0' has that name; pass another name",
        ),
        (BRANCH, {"x": "e1"}, "'x' cannot be named 'e1', as an output of node '' has that name; pass another name"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(graph: str, names: dict[str, str], message: str) -> None:
    model = parse(graph)
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(PassError, match=message):
        Rename(names=names).apply(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_a_name_that_an_initializer_has_is_taken() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Mul (x, w) }", weights={"w": normal(2)})
    with pytest.raises(PassError, match="'x' cannot be named 'w', as an initializer has that name"):
        Rename(names={"x": "w"}).apply(model)

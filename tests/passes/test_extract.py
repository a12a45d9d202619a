"""A part of the graph computes what it computed inside the whole."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.interface.extract import Extract
from nfexport.recipe.opsets import newest_opset
from tests.passes.graphs import Array, normal, operators, parse, run

CHAIN = """g (float[N,4] x, float[4] gain) => (float[N,4] y, float[N,4] z) {
    a = Relu (x)
    b = Mul (a, gain)
    c = Add (b, w)
    y = Sigmoid (c)
    z = Neg (a)
}"""
CAPTURED = """g (bool flip, float[2] x, float[2] idle) => (float[2] y) {
    outer = Mul (x, w)
    start = Neg (x)
    y = If (flip) <
        then_branch = t () => (float[2] t1) { t1 = Add (outer, start) },
        else_branch = e () => (float[2] e1) {
            e1 = If (flip) <
                then_branch = tt () => (float[2] u) { u = Neg (start) },
                else_branch = ee () => (float[2] v) { v = Mul (outer, outer) }>
        }>
}"""
LOOP = """g (int64 trips, bool go, float[2] x) => (float[2] y) {
    step = Mul (x, w)
    first = Relu (x)
    y = Loop (trips, go, first) <
        body = b (int64 i, bool condition, float[2] state) => (bool more, float[2] next) {
            more = Identity (condition)
            next = Add (state, step)
        }>
}"""
W: dict[str, Array] = {"w": normal(4, seed=1)}


def interface(model: ir.Model) -> tuple[list[str | None], list[str | None]]:
    return [value.name for value in model.graph.inputs], [value.name for value in model.graph.outputs]


@pytest.mark.parametrize("opset", [11, 13, 17, 18, newest_opset()])
def test_the_part_between_two_tensors(opset: int) -> None:
    model = parse(CHAIN, opset=opset, weights=W)
    report = Extract(inputs=("b",), outputs=("c",)).apply(model)
    assert (operators(model), interface(model)) == (["Add"], (["b"], ["c"]))
    assert report.summary == "1 of 5 nodes stay, from b to c"
    b = normal(3, 4)
    np.testing.assert_array_equal(run(model, {"b": b})[0], b + W["w"])
    shape = model.graph.inputs[0].shape
    assert shape is not None
    assert [str(size) for size in shape] == ["N", "4"]


def test_without_inputs_those_that_are_needed_stay() -> None:
    model = parse(CHAIN, weights=W)
    Extract(outputs=("a",)).apply(model)
    assert (operators(model), interface(model)) == (["Relu"], (["x"], ["a"]))
    assert not model.graph.initializers


def test_an_old_input_that_is_still_needed_stays_behind_the_new_one() -> None:
    model = parse(CHAIN, weights=W)
    Extract(inputs=("a",)).apply(model)
    assert interface(model) == (["a", "gain"], ["y", "z"])
    a, gain = normal(2, 4), normal(4, seed=3)
    y, z = run(model, {"a": a, "gain": gain})
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-(a * gain + W["w"]))), rtol=1e-6)
    np.testing.assert_array_equal(z, -a)


def test_what_bodies_read_from_outside_stays() -> None:
    weights: dict[str, Array] = {"w": normal(2, seed=1)}
    model = parse(CAPTURED, weights=weights)
    Extract(inputs=("start", "flip"), outputs=("y",)).apply(model)
    assert interface(model) == (["start", "flip", "x"], ["y"])
    x, start = normal(2, seed=2), normal(2, seed=3)
    feeds: dict[str, Array] = {"x": x, "start": start}
    np.testing.assert_allclose(run(model, {**feeds, "flip": np.array(True)})[0], x * weights["w"] + start, rtol=1e-6)
    np.testing.assert_allclose(run(model, {**feeds, "flip": np.array(False)})[0], (x * weights["w"]) ** 2, rtol=1e-6)


def test_a_tensor_that_only_a_body_reads_can_be_cut() -> None:
    model = parse(CAPTURED, weights={"w": normal(2, seed=1)})
    Extract(inputs=("outer",)).apply(model)
    assert interface(model) == (["outer", "flip", "x"], ["y"])
    outer, x = normal(2, seed=2), normal(2, seed=3)
    y = run(model, {"outer": outer, "x": x, "flip": np.array(False)})[0]
    np.testing.assert_allclose(y, outer * outer, rtol=1e-6)
    assert not model.graph.initializers


def test_the_cutter_of_onnx_loses_what_a_body_reads() -> None:
    """The reason why this is not done by onnx.utils.Extractor."""
    proto = ir.to_proto(parse(LOOP, weights={"w": normal(2)}))
    proto = onnx.shape_inference.infer_shapes(proto)
    part = onnx.utils.Extractor(proto).extract_model(["trips", "go", "first", "x"], ["y"])
    lost = [node.op_type for node in part.graph.node] == ["Loop"]
    model = parse(LOOP, weights={"w": normal(2)})
    Extract(inputs=("first",)).apply(model)
    assert operators(model) == ["Mul", "Loop"]
    feeds = {"trips": np.array(3), "go": np.array(True), "first": normal(2, seed=1), "x": normal(2, seed=2)}
    expected = feeds["first"] + 3 * feeds["x"] * normal(2)
    np.testing.assert_allclose(run(model, feeds)[0], expected, rtol=1e-5)
    assert lost


def test_one_output_of_a_node_is_cut_and_the_other_needed() -> None:
    text = """g (float[4] x) => (float[2] y) {
        left, right = Split <axis = 0> (x)
        s = Relu (left)
        y = Add (s, right)
    }"""
    model = parse(text)
    Extract(inputs=("left",)).apply(model)
    assert interface(model) == (["left", "x"], ["y"])
    left, x = normal(2), normal(4, seed=1)
    np.testing.assert_array_equal(run(model, {"left": left, "x": x})[0], np.maximum(left, 0) + x[2:])


def test_an_input_may_lie_behind_another() -> None:
    model = parse(CHAIN, weights=W)
    Extract(inputs=("c", "a")).apply(model)
    assert interface(model) == (["c", "a"], ["y", "z"])
    c, a = normal(2, 4), normal(2, 4, seed=1)
    np.testing.assert_array_equal(run(model, {"c": c, "a": a})[1], -a)


def test_a_default_that_nobody_needs_goes_with_its_input() -> None:
    text = "g (float[4] x, float[4] w) => (float[4] y) { a = Relu (x)\n y = Add (a, w) }"
    model = parse(text, weights=W)
    Extract(outputs=("a",)).apply(model)
    assert (interface(model), list(model.graph.initializers)) == ((["x"], ["a"]), [])
    model = parse(text, weights=W)
    Extract(inputs=("a",)).apply(model)
    a = normal(4)
    np.testing.assert_array_equal(run(model, {"a": a})[0], a + W["w"])


@pytest.mark.parametrize(
    ("graph", "request_", "message"),
    [
        (
            CHAIN,
            {"inputs": ("bb",)},
            r"no tensor 'bb'; did you mean 'b'\?; name tensors .* with --extract-inputs: its outputs are y, z",
        ),
        (CHAIN, {"outputs": ("q",)}, "the graph has no tensor 'q'; name tensors of the graph with --extract-outputs"),
        (CHAIN, {"inputs": ("w",)}, "'w' is a constant, which the file holds, and cannot become an input"),
        (CHAIN, {"outputs": ("w",)}, "the output 'w' is computed from no input"),
        (CHAIN, {"outputs": ("x",)}, "the output 'x' is computed from no input"),
        (
            CHAIN,
            {"inputs": ("c",), "outputs": ("c",)},
            "'c' is named as input and as output, and nothing lies between",
        ),
        (CHAIN, {"inputs": ("z",)}, "'z' is named as input and as output, and nothing lies between"),
        (
            CHAIN,
            {"inputs": ("b", "c"), "outputs": ("y",)},
            "no output needs the input 'b': the graph is cut at 'c' already",
        ),
        (CHAIN, {"inputs": ("b",), "outputs": ("z",)}, "no output needs the input 'b'; leave it out"),
        (CHAIN, {"inputs": ("b", "b")}, "'b' is named twice; name it once with --extract-inputs"),
        (CAPTURED, {"outputs": ("u",)}, "'u' lies inside the body of an If or Loop, which cannot be cut"),
    ],
)
def test_what_is_no_part_is_refused_and_nothing_changes(
    graph: str, request_: dict[str, tuple[str, ...]], message: str
) -> None:
    model = parse(graph, weights=W if graph is CHAIN else {"w": normal(2)})
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(PassError, match=message):
        Extract(**request_).apply(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_a_constant_that_is_computed_is_one_too() -> None:
    model = parse("g (float[4] x) => (float[4] y) { v = Neg (w)\n y = Add (x, v) }", weights=W)
    with pytest.raises(PassError, match="'v' is a constant, which the file holds"):
        Extract(inputs=("v",)).apply(model)


def test_a_tensor_of_unknown_type_is_refused() -> None:
    proto = ir.to_proto(parse("g (float[4] x) => (float[4] y) { a = Relu (x)\n y = Relu (a) }"))
    proto.graph.node[0].domain = "vendor"
    proto.opset_import.append(onnx.helper.make_opsetid("vendor", 1))
    with pytest.raises(
        PassError, match=r"the element type of 'a' is not known, .* what 'vendor\.Relu' gives; name a tens"
    ):
        Extract(inputs=("a",)).apply(ir.from_proto(proto))

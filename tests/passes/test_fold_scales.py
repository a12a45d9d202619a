"""Constant factors go into weights where that is exact, or stay and are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.graph import edit
from nfexport.passes.folds import fold_scales
from nfexport.passes.folds.fold_scales import FoldScales
from nfexport.passes.report import PassReport
from nfexport.workflows.export import export
from tests.passes.graphs import Array, Weight, normal, operators, parse, run

# Sums over a fan-in of at most 54, in another order and with other factors rounded in: a few units of 6e-8.
# The smallest wrong rule below is off by 1e-2.
TOLERANCE = 1e-6

WEIGHTS: dict[str, Array] = {
    "w": normal(4, 6, 3, 3, seed=1, scale=0.2),
    "b": normal(4, seed=2),
    "v": normal(6, 4, 1, 1, seed=3, scale=0.5),
    "vb": normal(6, seed=4),
    "two": np.array(2.0, np.float32),
    "fifth": np.array(0.2, np.float32),
    "minus": np.array(-1.5, np.float32),
    "zero": np.array(0.0, np.float32),
    "per4": np.array([0.5, 2.0, 3.0, 0.25], np.float32).reshape(1, 4, 1, 1),
    "per6": np.array([0.5, 2.0, 3.0, 0.25, 1.5, 0.1], np.float32).reshape(6, 1, 1),
    "signs6": np.array([0.5, -2.0, 3.0, 0.25, -1.5, 0.1], np.float32).reshape(6, 1, 1),
    "flat": np.array([0, -1]),
}
X = normal(2, 6, 8, 8, seed=9)


def graph(body: str, outputs: str = "float[2,d0,d1,d2] y", /, **weights: Weight) -> ir.Model:
    """Return the graph from x [2,6,8,8], with inferred shapes and the weights that it reads."""
    words = set(re.findall(r"\w+", body))
    known = {name: array for name, array in {**WEIGHTS, **weights}.items() if name in words}
    model = parse(f"g (float[2,6,8,8] x) => ({outputs}) {{ {body} }}", weights=known)
    return ir.passes.common.ShapeInferencePass()(model).model


def fold(model: ir.Model) -> PassReport:
    """Apply the pass; the outputs must not change, and a second time must find nothing."""
    before = run(model, {"x": X}, optimise=False)
    report = FoldScales().apply(model)
    after = run(model, {"x": X}, optimise=False)
    for old, new in zip(before, after, strict=True):
        assert difference(new, old) < TOLERANCE
    again = FoldScales().apply(model)
    assert again.changed == 0
    assert again.left_alone == report.left_alone
    return report


def difference(actual: Array, expected: Array) -> float:
    """The largest difference, in units of the expected output's range."""
    return float(np.abs(actual.astype(np.float64) - expected).max() / (np.ptp(expected.astype(np.float64)) or 1))


FOLDED = {
    "backward into weight and bias": ("c = Conv (x, w, b) y = Mul (c, two)", ["/Conv_0"]),
    "backward without a bias": ("c = Conv (x, w) y = Mul (two, c)", ["/Conv_0"]),
    "a division": ("c = Conv (x, w, b) y = Div (c, two)", ["/Conv_0"]),
    "a negative factor": ("c = Conv (x, w, b) y = Mul (c, minus)", ["/Conv_0"]),
    "per channel, backward": ("c = Conv (x, w, b) y = Mul (c, per4)", ["/Conv_0"]),
    "forward from an input of the graph": ("c = Mul (x, two) y = Conv (c, w, b)", ["/Conv_1"]),
    "per channel, forward, at zero padding": (
        "c = Mul (x, signs6) y = Conv <pads = [1,1,1,1]> (c, w, b)",
        ["/Conv_1"],
    ),
    "behind a nonlinearity": ("s = Sigmoid (x) c = Mul (s, two) y = Conv (c, w, b)", ["/Conv_2"]),
    "into all readers": (
        "s = Sigmoid (x) c = Mul (s, fifth) d = Conv (c, w, b) "
        "p = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (c) e = Conv (p, w) y = Add (d, e)",
        ["/Conv_4", "/Conv_2"],
    ),
    "through a residual addition, into both branches": (
        "c = Conv (x, w, b) d = Conv (x, w) s = Add (c, d) y = Mul (s, per4)",
        ["/Conv_1", "/Conv_0"],
    ),
    "into the addend behind a convolution": (
        "c = Conv (x, w) s = Add (c, addend) y = Mul (s, per4)",
        ["/Add_1", "/Conv_0"],
    ),
    "through Pad with zeros": (
        "s = Sigmoid (x) c = Mul (s, per6) p = Pad (c, pads, zero) y = Conv (p, w, b)",
        ["/Conv_3"],
    ),
    "positive through Relu": ("c = Conv (x, w, b) r = Relu (c) y = Mul (r, per4)", ["/Conv_0"]),
    "positive through LeakyRelu": ("c = Conv (x, w, b) r = LeakyRelu (c) y = Mul (r, two)", ["/Conv_0"]),
    "positive through MaxPool": (
        "c = Conv (x, w, b) r = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (c) y = Mul (r, per4)",
        ["/Conv_0"],
    ),
    "through a gate from elsewhere, which the squeeze undoes": (
        "c = Conv (x, v46, b) p = ReduceMean <axes = [2,3]> (c) q = Conv (p, v, vb) r = Relu (q) "
        "e = Conv (r, v46, b) g = Sigmoid (e) z = Mul (c, g) y = Mul (z, fifth)",
        ["/Conv_2", "/Conv_0"],
    ),
    "through a gate that stands first": (
        "p = GlobalAveragePool (x) e = Conv (p, v46) g = Sigmoid (e) c = Conv (x, v46, b) z = Mul (g, c) "
        "y = Mul (z, two)",
        ["/Conv_3"],
    ),
    "through Concat": (
        "c = Conv (x, w, b) d = Conv (x, w) s = Concat <axis = 1> (c, d) y = Mul (s, two)",
        ["/Conv_1", "/Conv_0"],
    ),
    "through Slice": ("c = Conv (x, w, b) s = Slice (c, from, to, axes) y = Mul (s, per4)", ["/Conv_0"]),
    "through Transpose": (
        "c = Conv (x, w, b) t = Transpose <perm = [0,2,3,1]> (c) y = Mul (t, last4)",
        ["/Conv_0"],
    ),
    "a chain": ("c = Conv (x, w, b) d = Mul (c, two) e = Div (d, fifth) y = Mul (e, minus)", ["/Conv_0"]),
    "grouped": ("c = Mul (x, signs6) d = Conv <group = 2> (c, grouped, b) y = Mul (d, per4)", ["/Conv_1"]),
    "depthwise": ("c = Mul (x, signs6) d = Conv <group = 6> (c, depthwise, vb) y = Mul (d, per6)", ["/Conv_1"]),
    "transposed": (
        "c = Mul (x, signs6) d = ConvTranspose <strides = [2,2]> (c, transposed, b) y = Mul (d, per4)",
        ["/ConvTranspose_1"],
    ),
    "transposed, grouped": (
        "c = Mul (x, signs6) d = ConvTranspose <group = 2> (c, transposed2, b) y = Mul (d, per4)",
        ["/ConvTranspose_1"],
    ),
}
MORE = {
    "v46": normal(4, 6, 1, 1, seed=5, scale=0.5),
    "addend": normal(4, 1, 1, seed=6),
    "pads": np.array([0, 0, 0, 1, 0, 0, 1, 2]),
    "from": np.array([1]),
    "to": np.array([5]),
    "axes": np.array([3]),
    "last4": WEIGHTS["per4"].reshape(4),
    "grouped": normal(4, 3, 3, 3, seed=7),
    "depthwise": normal(6, 1, 3, 3, seed=7),
    "transposed": normal(6, 4, 3, 3, seed=7),
    "transposed2": normal(6, 2, 3, 3, seed=7),
}


@pytest.mark.parametrize(("body", "nodes"), FOLDED.values(), ids=FOLDED)
def test_a_factor_folds(body: str, nodes: list[str]) -> None:
    model = graph(body, **MORE)
    report = fold(model)
    assert report.left_alone == {}
    assert fold_scales.remaining(model) == []
    for where in report.facts["folded"].values():
        assert sorted(where) == sorted(nodes)


MATRICES = {
    "Gemm, per channel behind a pooling": (
        "s = Sigmoid (x) c = Mul (s, signs6) p = GlobalAveragePool (c) f = Flatten (p) y = Gemm (f, m, mb)"
    ),
    "Gemm, transposed": "s = Sigmoid (x) c = Mul (s, signs6) p = GlobalAveragePool (c) f = Reshape (p, flat) "
    "y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (f, mt, mb)",
    "Gemm, backward": "p = GlobalAveragePool (x) f = Flatten (p) g = Gemm (f, m, mb) y = Mul (g, per5)",
    "Gemm, backward, transposed": "p = GlobalAveragePool (x) f = Flatten (p) g = Gemm <transB = 1> (f, mt, one) "
    "y = Mul (g, per5)",
    "MatMul and its addend": "p = ReduceMean <axes = [2,3], keepdims = 0> (x) g = MatMul (p, m) h = Add (g, mb) "
    "y = Mul (h, per5)",
    "MatMul, forward": "s = Sigmoid (x) c = Mul (s, signs6) p = ReduceMean <axes = [-1,2], keepdims = 0> (c) "
    "y = MatMul (p, m)",
    "scalar through a Flatten that merges": "s = Sigmoid (x) c = Mul (s, two) f = Flatten (c) y = Gemm (f, wide)",
}


@pytest.mark.parametrize("body", MATRICES.values(), ids=MATRICES)
def test_a_factor_folds_into_a_matrix(body: str) -> None:
    matrix = normal(6, 5, seed=8)
    model = graph(
        body,
        "float[2,5] y",
        m=matrix,
        mt=np.ascontiguousarray(matrix.T),
        mb=normal(5, seed=9),
        one=normal(1, seed=9),
        per5=np.array([1.5, -2.0, 0.5, 3.0, 0.1], np.float32),
        wide=normal(6 * 8 * 8, 5, seed=8),
    )
    report = fold(model)
    assert report.changed == 1
    assert report.left_alone == {}


def test_a_factor_of_one_is_dropped() -> None:
    model = graph("s = Sigmoid (x) y = Mul (s, one)", one=np.float32(1))
    report = fold(model)
    assert report.facts["folded"] == {"/Mul_1": []}
    assert operators(model) == ["Sigmoid"]
    assert model.graph.outputs[0].name == "y"


def test_a_weight_is_rounded_once() -> None:
    tenth, third = np.float32(0.1), np.float32(1 / 3)
    model = graph("c = Conv (x, w, b) d = Mul (c, tenth) y = Mul (d, third)", tenth=tenth, third=third)
    FoldScales().apply(model)
    once = (WEIGHTS["w"].astype(np.float64) * float(tenth) * float(third)).astype(np.float32)
    np.testing.assert_array_equal(weight(model, "/Conv_0"), once)
    assert (WEIGHTS["w"] * tenth * third != once).any()  # rounding at each step is another weight


def test_a_shared_weight_is_scaled_for_one_reader_only() -> None:
    model = graph("c = Conv (x, w, b) d = Conv (x, w, b) e = Mul (c, two) f = Sigmoid (d) y = Add (e, f)")
    fold(model)
    np.testing.assert_array_equal(weight(model, "/Conv_0"), 2 * WEIGHTS["w"])
    np.testing.assert_array_equal(weight(model, "/Conv_1"), WEIGHTS["w"])


def test_sharers_that_are_scaled_alike_go_on_sharing() -> None:
    model = graph("c = Conv (x, w, b) d = Conv (x, w, b) e = Add (c, d) y = Mul (e, two)")
    fold(model)
    assert sorted(model.graph.initializers) == ["b", "w"]


def test_the_report_says_what_happened() -> None:
    report = fold(graph("c = Conv (x, w, b) d = Mul (c, two) e = Mul (d, minus) s = Sigmoid (e) y = Mul (s, fifth)"))
    assert report.name == "fold-scales"
    assert report.changed == 2
    assert report.summary == "2 constant factors folded into 2 weights and biases, 1 left alone"
    assert report.facts == {
        "folded": {"/Mul_1": ["/Conv_0"], "/Mul_2": ["/Conv_0"]},
        "constants_scaled": 2,
        "largest_scale": 2.0,
        "smallest_scale": 1.5,
        "in_formulas": 0,
    }


GELU = "q = Div (c, root) e = Erf (q) a = Add (e, one) m = Mul (c, a) z = Mul (m, half)"
FORMULAS = {
    "Gelu": (GELU, 2),
    "Gelu, half first": ("h = Mul (c, half) q = Mul (c, root) e = Erf (q) a = Add (e, one) z = Mul (h, a)", 2),
    "tanh-Gelu": (
        "c2 = Mul (c, c) c3 = Mul (c2, c) k = Mul (c3, tiny) i = Add (c, k) n = Mul (i, root) t = Tanh (n) "
        "a = Add (t, one) m = Mul (c, a) z = Mul (m, half)",
        3,
    ),
    "QuickGelu": ("n = Mul (c, root) s = Sigmoid (n) z = Mul (c, s)", 1),
    "HardSwish": ("a = Add (c, three) k = Clip (a, zero, six) m = Mul (c, k) z = Div (m, six)", 1),
    "HardSwish, sixth first": ("a = Add (c, three) k = Clip (a, zero, six) s = Div (k, six) z = Mul (c, s)", 1),
}


@pytest.mark.parametrize(("formula", "count"), FORMULAS.values(), ids=FORMULAS)
def test_an_activation_keeps_its_formula(formula: str, count: int) -> None:
    numbers = {"root": 1.4142135, "one": 1, "half": 0.5, "tiny": 0.044715, "three": 3, "six": 6}
    model = graph(
        f"c0 = Conv (x, w, b) c = Mul (c0, fifth) {formula} r = Mul (z, two) y = Conv (r, v, vb)",
        **{name: np.float32(number) for name, number in numbers.items()},
    )
    formula_nodes = operators(model)[2:-2]
    report = fold(model)
    assert report.facts["in_formulas"] == count
    assert len(report.facts["folded"]) == 2  # what goes into it and what comes out of it are factors of their own
    assert operators(model) == ["Conv", *formula_nodes, "Conv"]
    assert fold_scales.remaining(model) == []


def test_a_normalisation_keeps_its_gain() -> None:
    model = graph(
        "m = ReduceMean <axes = [-1]> (x) d = Sub (x, m) q = Pow (d, two) u = ReduceMean <axes = [-1]> (q) "
        "a = Add (u, fifth) r = Sqrt (a) n = Div (d, r) g = Mul (n, columns) h = Add (g, columns) "
        "y = MatMul (h, mat)",
        columns=OTHERS["columns"],
        mat=normal(8, 8, seed=8),
    )
    report = fold(model)
    assert report.changed == 0
    assert report.left_alone == {}
    assert report.facts["in_formulas"] == 1


def test_half_a_sigmoid_is_no_formula() -> None:
    report = fold(graph("s = Sigmoid (x) h = Mul (x, s) c = Mul (h, half) y = Conv (c, w, b)", half=np.float32(0.5)))
    assert report.changed == 1


LEFT_ALONE = {
    "between nonlinearities": (
        "s = Sigmoid (x) c = Mul (s, two) y = Tanh (c)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; forward: node '/Tanh_2' (Tanh) is not linear",
    ),
    "negative through Relu": (
        "c = Conv (x, w, b) r = Relu (c) y = Mul (r, minus)",
        "backward: node '/Relu_1' (Relu) lets only positive factors pass; "
        "forward: the output 'y' of the graph would change",
    ),
    "negative through MaxPool": (
        "s = Sigmoid (x) c = Mul (s, signs6) m = MaxPool <kernel_shape = [3,3]> (c) y = Conv (m, w, b)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; "
        "forward: node '/MaxPool_2' (MaxPool) lets only positive factors pass",
    ),
    "one reader of two cannot": (
        "s = Sigmoid (x) c = Mul (s, two) d = Conv (c, w, b) t = Tanh (c) e = Conv (t, w) y = Add (d, e)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; forward: node '/Tanh_3' (Tanh) is not linear",
    ),
    "one branch of an addition cannot": (
        "c = Conv (x, v66) s = Add (c, x) y = Mul (s, two)",
        "backward: the input 'x' of the graph would change; forward: the output 'y' of the graph would change",
    ),
    "per channel through a Flatten that merges": (
        "s = Sigmoid (x) c = Mul (s, per6) f = Flatten (c) y4 = Gemm (f, wide) y = Reshape (y4, shape)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; "
        "forward: node '/Flatten_2' (Flatten) mixes the axis along which the factor varies",
    ),
    "along the sliced axis": (
        "s = Sigmoid (x) c = Mul (s, per6) f = Slice (c, end, start, one, back) y = Conv (f, w)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; "
        "forward: node '/Slice_2' (Slice) mixes the axis along which the factor varies",
    ),
    "along the columns of the picture": (
        "s = Sigmoid (x) c = Mul (s, columns) y = Conv (c, w, b)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; "
        "forward: node '/Conv_2' (Conv) mixes the axis along which the factor varies",
    ),
    "a map": ("c = Conv <pads = [1,1,1,1]> (x, w) y = Mul (c, map)", "its factor varies along more than one axis"),
    "a factor that broadcasts": (
        "c = ReduceMean <axes = [3]> (x) y = Mul (c, columns)",
        "its factor broadcasts its operand",
    ),
    "Pad with ones": (
        "s = Sigmoid (x) c = Mul (s, two) p = Pad (c, pads, two) y = Conv (p, w, b)",
        "backward: node '/Sigmoid_0' (Sigmoid) is not linear; "
        "forward: node '/Pad_2' (Pad) pads with another constant than 0",
    ),
    "zero": ("c = Conv (x, w, b) y = Mul (c, zero)", "its factor is 0 or not finite"),
    "a reciprocal": ("s = Sigmoid (x) y = Div (two, s)", "it divides a constant by a value"),
    "a square": (
        "c = Conv (x, w, b) s = Mul (c, c) y = Mul (s, two)",
        "backward: two factors meet at node '/Mul_1' (Mul); forward: the output 'y' of the graph would change",
    ),
    "a bias that is computed": (
        "c = Conv (x, v46) p = GlobalAveragePool (x) q = Sigmoid (p) f = Conv (q, v46) r = ReduceMean "
        "<axes = [0,2,3], keepdims = 0> (f) d = Conv (x, w, r) y = Mul (d, two)",
        "backward: the bias of node '/Conv_5' (Conv) is not constant; "
        "forward: the output 'y' of the graph would change",
    ),
    "a weight that is computed": (
        "s = Sigmoid (w) c = Conv (x, s) y = Mul (c, two)",
        "backward: the weight of node '/Conv_1' (Conv) is not constant; "
        "forward: the output 'y' of the graph would change",
    ),
}
OTHERS = {
    **MORE,
    "v66": normal(6, 6, 1, 1, seed=5),
    "square": normal(4, 4, 1, 1, seed=5),
    "wide": normal(6 * 8 * 8, 4, seed=8),
    "shape": np.array([2, 4, 1, 1]),
    "columns": np.arange(1, 9, dtype=np.float32),
    "map": normal(4, 8, 8, seed=7),
    "end": np.array([-1]),
    "start": np.array([-99]),
    "one": np.array([1]),
    "back": np.array([-1]),
}


@pytest.mark.parametrize(("body", "reason"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_a_factor_stays_and_is_named(body: str, reason: str) -> None:
    model = graph(body, **OTHERS)
    before = operators(model)
    report = fold(model)
    assert report.changed == 0
    assert list(report.left_alone.values()) == [reason]
    assert fold_scales.remaining(model) == list(report.left_alone)
    assert operators(model) == before


def test_an_output_in_between_stays_what_it_is() -> None:
    model = graph("c = Conv (x, w, b) y = Mul (c, two)", "float[2,4,6,6] y, float[2,4,6,6] c")
    report = fold(model)
    assert report.left_alone == {"/Mul_1": "both its operand and its result are inputs or outputs of the graph"}


def test_an_output_beside_it_stays_what_it_is() -> None:
    report = fold(
        graph(
            "c = Conv (x, w, b) s = Mul (c, two) y = Tanh (s)",
            "float[2,4,6,6] y, float[2,4,6,6] c",
        )
    )
    assert report.left_alone == {
        "/Mul_1": "backward: the output 'c' of the graph would change; forward: node '/Tanh_2' (Tanh) is not linear"
    }


@pytest.mark.parametrize(
    ("dtype", "root", "word"),
    [
        (np.float32, 3e19, "overflow 'w' in float"),
        (np.float32, 3e-20, "underflow 'w' in float"),
        (np.float16, 400, "overflow 'w' in float16"),
        (np.float16, 3e-3, "underflow 'w' in float16"),
    ],
)
def test_a_weight_that_would_leave_its_type_stays(dtype: type, root: float, word: str) -> None:
    """In two steps, as the type does not hold the whole factor: the first goes, the second does not."""
    half: Array = np.asarray(root, dtype)
    model = parse(
        f"g ({'float' if dtype is np.float32 else 'float16'}[2,6,8,8] x) => "
        f"({'float' if dtype is np.float32 else 'float16'}[2,4,6,6] y) "
        "{ c = Conv (x, w) d = Mul (c, half) y = Mul (d, half) }",
        weights={"w": WEIGHTS["w"].astype(dtype), "half": half},
    )
    model = ir.passes.common.ShapeInferencePass()(model).model
    report = FoldScales().apply(model)
    assert report.changed == 1
    assert f"the factor would {word}" in report.left_alone["/Mul_2"]


def test_small_weights_of_float16_do_not_hinder() -> None:
    # 2⁻²⁰ is subnormal in float16 and becomes coarser, but less so than its filter's largest entry
    weight = WEIGHTS["w"].astype(np.float16)
    weight[:, 0, 0, 0] = 2.0**-20
    model = parse(
        "g (float16[2,6,8,8] x) => (float16[2,4,6,6] y) { c = Conv (x, w) y = Mul (c, fifth) }",
        weights={"w": weight, "fifth": np.asarray(0.2, np.float16)},
    )
    assert FoldScales().apply(ir.passes.common.ShapeInferencePass()(model).model).changed == 1


def test_a_product_in_a_body_stays() -> None:
    model = parse(
        """g (float[2,6,8,8] x, bool flag) => (float[2,6,8,8] y) {
            y = If (flag) <
                then_branch = a () => (float[2,6,8,8] p) { p = Mul (x, two) },
                else_branch = b () => (float[2,6,8,8] q) { q = Identity (x) }>
        }""",
        weights={"two": np.float32(2)},
    )
    report = FoldScales().apply(model)
    assert report.changed == 0
    assert list(report.left_alone.values()) == ["it is inside the body of an If or Loop"]


def test_a_body_that_reads_the_value_holds_a_factor_back() -> None:
    model = parse(
        """g (float[2,6,8,8] x, bool flag) => (float[2,4,6,6] y) {
            s = Sigmoid (x)
            c = Mul (s, two)
            t = If (flag) <
                then_branch = a () => (float[2,6,8,8] p) { p = Identity (c) },
                else_branch = b () => (float[2,6,8,8] q) { q = Identity (x) }>
            y = Conv (t, w)
        }""",
        weights={"two": np.float32(2), "w": WEIGHTS["w"]},
    )
    report = FoldScales().apply(model)
    assert report.changed == 0
    assert "is inside the body of an If or Loop" in next(iter(report.left_alone.values()))


def test_a_factor_that_the_caller_can_replace_stays() -> None:
    model = graph("c = Conv (x, w, b) y = Mul (c, two)")
    model.graph.inputs.append(model.graph.initializers["two"])
    report = FoldScales().apply(model)
    assert report.left_alone == {"/Mul_1": "its factor is an input of the graph too"}


def wrong(body: str, name: str, index: int, numbers: Any) -> float:
    """Drop the product and multiply one constant by numbers; return the difference that this makes."""
    model = graph(body, **OTHERS)
    expected = run(model, {"x": X}, optimise=False)[0]
    left = fold_scales.remaining(model)
    for node in list(model.graph):
        if node.name == left[-1]:
            operand = node.inputs[0]
            assert operand is not None
            edit.replace_value(node.outputs[0], operand)
            model.graph.remove(node, safe=True)
        elif node.name == name:
            constant = edit.constant(node.inputs[index])
            assert constant is not None
            scaled = (constant.astype(np.float64) * numbers).astype(np.float32)
            node.replace_input_with(index, edit.add_initializer(model.graph, "scaled", scaled))
    edit.remove_dead(model)
    return difference(run(model, {"x": X}, optimise=False)[0], expected)


SIGNS = np.array([0.5, -2.0, 3.0, 0.25, -1.5, 0.1])
WRONG = {
    "bias not scaled": ("c = Conv (x, w, b) y = Mul (c, two)", "/Conv_0", 1, 2.0),
    "through Sigmoid": ("c = Conv (x, w) s = Sigmoid (c) y = Mul (s, two)", "/Conv_0", 1, 2.0),
    "negative through Relu": ("c = Conv (x, w) r = Relu (c) y = Mul (r, minus)", "/Conv_0", 1, -1.5),
    "negative through MaxPool": (
        "m0 = Mul (x, signs6) m = MaxPool <kernel_shape = [3,3]> (m0) y = Conv (m, w)",
        "/Conv_2",
        1,
        SIGNS.reshape(1, 6, 1, 1),
    ),
    "one reader of two": (
        "m = Mul (x, two) c = Conv (m, w) d = Conv (m, w, b) y = Add (c, d)",
        "/Conv_1",
        1,
        2.0,
    ),
    "squeeze not undone": (
        "c = Conv (x, v46, b) p = ReduceMean <axes = [2,3]> (c) q = Conv (p, square, b) g = Sigmoid (q) "
        "z = Mul (c, g) y = Mul (z, two)",
        "/Conv_0",
        1,
        2.0,
    ),
    "divided instead of multiplied": ("m = Mul (x, two) y = Conv (m, w)", "/Conv_1", 1, 0.5),
}


@pytest.mark.parametrize(("body", "name", "index", "numbers"), WRONG.values(), ids=WRONG)
def test_the_comparison_notices_the_wrong_rule(body: str, name: str, index: int, numbers: Any) -> None:
    assert wrong(body, name, index, numbers) > 1e4 * TOLERANCE


def test_the_right_rule_passes_the_same_comparison() -> None:
    body, name, index, _ = WRONG["divided instead of multiplied"]
    assert wrong(body, name, index, 2.0) < TOLERANCE


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fold_scales") / "test_nfnet.onnx"
    export("test_nfnet", path, opset=11, fold_ws=True, image_size=64, verify=False)
    return path


def test_no_factor_is_left_in_a_normalizer_free_network(network: Path) -> None:
    model = ir.load(network)
    assert len(fold_scales.remaining(model)) == 12  # beta, attention gain and alpha of four blocks
    picture = {"input": normal(2, 3, 64, 64, seed=1)}
    before = run(model, picture, optimise=False)[0]
    report = FoldScales().apply(model)
    after = run(model, picture, optimise=False)[0]
    assert report.changed == 12
    assert report.left_alone == {}
    assert fold_scales.remaining(model) == []
    assert report.facts["folded"]["/stages.1.0/Mul_2"] == ["/stages.1.0/conv3/Conv", "/stages.1.0/attn_last/fc1/Conv"]
    assert report.facts["folded"]["/stages.1.0/Mul"] == ["/stages.1.0/conv1/Conv", "/stages.1.0/downsample/conv/Conv"]
    # the file's own float32 error is 2e-7 to 5e-7 of its range; a factor of 1 + 1e-5 in one block shows
    assert difference(after, before) < TOLERANCE
    assert FoldScales().apply(model).changed == 0


def weight(model: ir.Model, name: str) -> Array:
    """Return the weight of the node of this name."""
    node = next(node for node in model.graph if node.name == name)
    array = edit.constant(node.inputs[1])
    assert array is not None
    return array

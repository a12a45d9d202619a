"""Another batch: each entry gets the numbers that the old graph gives it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import nfexport
from nfexport.errors import PassError
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.interface.batch import ChangeBatch
from nfexport.passes.interface.propagation.proof import prove
from nfexport.recipe.opsets import newest_opset
from tests.passes.graphs import Array, normal, operators, parse, run

OPSETS = [11, 13, 17, 18, newest_opset()]


def agrees(old: ir.Model, new: ir.Model, sizes: tuple[int, ...] = (1, 2, 3), **feeds: Array) -> None:
    """Run the new graph on n pictures, and the old one on each alone, repeated to fill its batch.

    Equal up to 1e-6 of the largest number: a matrix product may sum in another order for another batch."""
    entry = old.graph.inputs[0]
    assert entry.shape is not None
    filled, rest = entry.shape[0], [dim if isinstance(dim, int) else 5 for dim in entry.shape[1:]]
    assert isinstance(filled, int)
    for size in sizes:
        x = normal(size, *rest, seed=size)
        found = run(new, {str(entry.name): x, **feeds})
        alone = [run(old, {str(entry.name): np.repeat(x[i : i + 1], filled, 0), **feeds}) for i in range(size)]
        for index, output in enumerate(found):
            right = np.concatenate([outputs[index][:1] for outputs in alone])
            assert output.shape == right.shape
            np.testing.assert_allclose(output, right, rtol=0, atol=1e-6 * max(np.abs(right).max(), 1))


def vector(*elements: int) -> Array:
    return np.array(elements, np.int64)


ATTENTION = """g (float[B,4,6] x) => (float[B,4,6] y) {
    qkv = MatMul (x, w)
    r = Reshape (qkv, parted)
    t = Transpose <perm = [2, 0, 3, 1, 4]> (r)
    q = Gather <axis = 0> (t, i0)
    k = Gather <axis = 0> (t, i1)
    v = Gather <axis = 0> (t, i2)
    kt = Transpose <perm = [0, 1, 3, 2]> (k)
    s = MatMul (q, kt)
    p = Softmax <axis = 3> (s)
    o = MatMul (p, v)
    ot = Transpose <perm = [0, 2, 1, 3]> (o)
    y = Reshape (ot, joined)
}"""


def attention(size: int, opset: int = 17) -> ir.Model:
    weights = {
        "w": normal(6, 18),
        "parted": vector(size, 4, 3, 2, 3),
        "joined": vector(size, 4, 6),
        **{f"i{i}": np.array(i) for i in range(3)},
    }
    return parse(ATTENTION.replace("B", str(size)), opset=opset, weights=weights)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("size", [1, 2])
def test_attention_for_any_batch(size: int, opset: int) -> None:
    model = attention(size, opset)
    report = ChangeBatch(size="dynamic").apply(model)
    agrees(attention(size, opset), model)
    assert report.summary == f"batch {size} became dynamic, 2 constants rewritten"
    assert report.facts["rewritten"] == ["/Reshape_1", "/Reshape_11"]
    assert [str(v.shape) for v in (*model.graph.inputs, *model.graph.outputs)] == ["[batch,4,6]"] * 2


@pytest.mark.parametrize("opset", OPSETS)
def test_attention_for_another_fixed_batch(opset: int) -> None:
    model = attention(2, opset)
    ChangeBatch(size=5).apply(model)
    agrees(attention(2, opset), model, (5,))
    assert model.graph.initializers["parted"].const_value.numpy().tolist() == [5, 4, 3, 2, 3]  # type: ignore[union-attr]
    assert [str(v.shape) for v in (*model.graph.inputs, *model.graph.outputs)] == ["[5,4,6]"] * 2


def test_changing_the_shape_of_the_input_alone_is_not_enough() -> None:
    model = attention(1)
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = ir.Shape(["batch", 4, 6])
    with pytest.raises(Exception, match="Reshape"):
        run(model, {"x": normal(2, 4, 6)}, optimise=False)


def test_there_and_back_again() -> None:
    model = attention(2)
    ChangeBatch(size="dynamic").apply(model)
    ChangeBatch(size=2).apply(model)
    agrees(attention(2), model, (2,))
    assert ChangeBatch(size=2).apply(model).summary == "the batch is already 2"


WINDOWS = """g (float[B,4,4,2] x) => (float[B,4,4,2] y) {
    parted = Reshape (x, six)
    moved = Transpose <perm = [0, 1, 3, 2, 4, 5]> (parted)
    windows = Reshape (moved, windowed)
    s = Softmax <axis = 1> (windows)
    back = Reshape (s, six)
    again = Transpose <perm = [0, 1, 3, 2, 4, 5]> (back)
    y = Reshape (again, whole)
}"""


@pytest.mark.parametrize("open_windows", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_windows_share_the_axis_of_the_batch(size: int, open_windows: bool) -> None:
    weights = {
        "six": vector(size, 2, 2, 2, 2, 2),
        "windowed": vector(-1 if open_windows else 4 * size, 4, 2),
        "whole": vector(size, 4, 4, 2),
    }
    text = WINDOWS.replace("B", str(size))
    model = parse(text, opset=13, weights=weights)
    ChangeBatch(size="dynamic").apply(model)
    agrees(parse(text, opset=13, weights=weights), model)
    fixed = parse(text, opset=13, weights=weights)
    ChangeBatch(size=3).apply(fixed)
    agrees(parse(text, opset=13, weights=weights), fixed, (3,))


def token(size: int, opset: int) -> ir.Model:
    text = f"g (float[{size},3,4] x) => (float[{size},4,4] y) {{ y = Concat <axis = 1> (cls, x) }}"
    return parse(text, opset=opset, weights={"cls": np.repeat(normal(1, 1, 4), size, 0)})


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("size", [1, 2])
def test_a_class_token_is_repeated_for_each_entry(size: int, opset: int) -> None:
    model = token(size, opset)
    ChangeBatch(size="dynamic").apply(model)
    agrees(token(size, opset), model)
    assert operators(model) == ["Shape", "Gather", "Concat", "Expand", "Concat"]
    model = token(size, opset)
    ChangeBatch(size=3).apply(model)
    agrees(token(size, opset), model, (3,))
    assert operators(model) == ["Expand", "Concat"]


# operators that carry the batch, each in a graph from x [B, 4, 6, 6]
CARRY: dict[str, tuple[str, dict[str, Any]]] = {
    "convolution": ("y = Conv <pads = [1, 1, 1, 1]> (x, w)", {"w": normal(3, 4, 3, 3)}),
    "normalisation": ("y = BatchNormalization (x, c, c, c, p)", {"c": normal(4), "p": np.ones(4, np.float32)}),
    "flatten and gemm": ("f = Flatten (x)\n y = Gemm (f, w, b)", {"w": normal(144, 3), "b": normal(1, 3)}),
    "a bias for each entry": ("f = Flatten (x)\n y = Gemm (f, w, b)", {"w": normal(144, 3), "b": "rows"}),
    "a constant for each entry": ("y = Add (x, a)", {"a": "all"}),
    "expand": ("e = Expand (x, s)\n y = Relu (e)", {"s": ["B", 4, 6, 6]}),
    "a gate that is expanded": (
        "m = GlobalAveragePool (x)\n e = Expand (m, s)\n y = Mul (x, e)",
        {"s": ["B", 4, 6, 6]},
    ),
    "resize to sizes": (
        'y = Resize <mode = "nearest"> (x, roi, none, s)',
        {"roi": np.zeros(0, np.float32), "none": np.zeros(0, np.float32), "s": ["B", 4, 9, 9]},
    ),
    "resize by scales": (
        'y = Resize <mode = "nearest"> (x, roi, scales)',
        {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
    ),
    "slice": ("y = Slice (x, starts, ends)", {"starts": [0, 1], "ends": ["B", 3]}),
    "pixels as tokens": ("r = Reshape (x, s)\n y = Transpose <perm = [0, 2, 1]> (r)", {"s": ["B", 4, -1]}),
    "zero and minus one": ("y = Reshape (x, s)", {"s": [0, 4, -1]}),
    "the last size open": ("r = Reshape (x, s)\n y = Reshape (r, t)", {"s": ["B", 2, 2, -1], "t": ["B", -1]}),
    "rows and pixels merged": (
        "r = Reshape (x, s)\n m = MatMul (r, w)\n y = Reshape (m, t)",
        {"s": ["24B", 6], "w": normal(6, 2), "t": ["B", 4, 12]},
    ),
    "the batch in the middle": (
        "t = Transpose <perm = [1, 0, 2, 3]> (x)\n r = Reshape (t, s)\n u = MatMul (r, w)\n"
        " y = Transpose <perm = [1, 0, 2]> (u)",
        {"s": [4, "B", 36], "w": normal(36, 2)},
    ),
    "an axis before the batch parted": (
        "t = Transpose <perm = [1, 0, 2, 3]> (x)\n r = Reshape (t, s)\n y = Transpose <perm = [2, 0, 1, 3]> (r)",
        {"s": [2, 2, "B", 36]},
    ),
    "an axis of one before the batch": (
        "u = Unsqueeze <axes = [0]> (x)\n r = Reshape (u, s)\n y = Squeeze <axes = [0]> (r)",
        {"s": [1, "B", 4, 36]},
    ),
    "sizes read at run time": (
        "h = Shape (x)\n n = Gather <axis = 0> (h, zero)\n m = Mul (n, four)\n t = Concat <axis = 0> (m, rest)\n"
        " r = Reshape (x, t)\n s = Softmax <axis = 1> (r)\n y = Reshape (s, h)",
        {"zero": [0], "four": [4], "rest": [36]},
    ),
    "zeros of the batch": (
        "h = Shape (x)\n z = ConstantOfShape (h)\n y = Concat <axis = 1> (x, z)",
        {},
    ),
    "reduced": ("y = ReduceMax <axes = [2, 3], keepdims = 0> (x)", {}),
    "einsum": ('y = Einsum <equation = "bchw,co->bohw"> (x, w)', {"w": normal(4, 2)}),
    "indices": (
        "a = ArgMax <axis = 1, keepdims = 0> (x)\n g = Gather <axis = 0> (w, a)\n y = Relu (g)",
        {"w": normal(4, 2)},
    ),
    "recurrent": (
        "r = Reshape (x, s)\n t = Transpose <perm = [1, 0, 2]> (r)\n"
        " o, h, c = LSTM <hidden_size = 2> (t, w, u, b, , state, state)\n n = Squeeze <axes = [1]> (o)\n"
        " y = Transpose <perm = [1, 0, 2]> (n)",
        {"s": ["B", 4, 36], "w": normal(1, 8, 36), "u": normal(1, 8, 2), "b": normal(1, 16), "state": "state"},
    ),
    "split": ("a, b = Split <axis = 1> (x)\n y = Mul (a, b)", {}),
    "pad": ("y = Pad (x, pads)", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}),
}


def carrying(name: str, size: int, height: str = "6") -> ir.Model:
    text, constants = CARRY[name]
    weights: dict[str, Array] = {}
    for key, value in constants.items():
        if isinstance(value, list):
            numbers = [size * int(e.rstrip("B") or 1) if isinstance(e, str) else e for e in value]
            weights[key] = vector(*numbers)
        elif isinstance(value, str):
            shape = {"rows": (1, 3), "all": (1, 4, 6, 6), "state": (1, 1, 2)}[value]
            weights[key] = np.repeat(normal(*shape, seed=5), size, int(len(shape) == 3))
        else:
            weights[key] = value
    opset = 12 if name == "einsum" else 11
    model = parse(
        f"g (float[{size},4,{height},{height}] x) => (float[] y) {{ {text} }}", opset=opset, weights=weights
    )
    model.graph.outputs[0].shape = None
    infer_shapes(model)
    output = model.graph.outputs[0]
    output.shape = output.shape or model.graph.inputs[0].shape
    return model


@pytest.mark.parametrize("name", CARRY)
@pytest.mark.parametrize("size", [1, 2])
def test_each_entry_alone(name: str, size: int) -> None:
    model = carrying(name, size)
    report = ChangeBatch(size="dynamic").apply(model)
    agrees(carrying(name, size), model)
    assert report.facts["outputs"] == ["y"]
    model = carrying(name, size)
    ChangeBatch(size=3).apply(model)
    agrees(carrying(name, size), model, (3,))


@pytest.mark.parametrize(
    "name", ["pixels as tokens", "zero and minus one", "convolution", "pad", "zeros of the batch"]
)
def test_the_size_of_the_picture_may_be_open(name: str) -> None:
    model = carrying(name, 2, height="S")
    ChangeBatch(size="dynamic").apply(model)
    agrees(carrying(name, 2, height="S"), model)


# what mixes entries, or cannot be followed
MIX: dict[str, str] = {
    "y = ReduceMean <axes = [0]> (x)": r"'/ReduceMean_0' \(ReduceMean\) works along the axis of the batch, and the",
    "y = ReduceSum (x)": r"\(ReduceSum\) works along the axis of the batch",
    "y = Softmax <axis = 0> (x)": r"\(Softmax\) works along the axis of the batch",
    "y = Concat <axis = 0> (x, x)": r"\(Concat\) works along the axis of the batch",
    "y = Gather <axis = 0> (x, one)": r"\(Gather\) works along the axis of the batch",
    "y = Slice (x, zero, one)": r"\(Slice\) takes some entries of the batch and leaves others",
    "y = Slice (x, one, far)": r"\(Slice\) takes some entries of the batch and leaves others",
    "y = Add (x, each)": r"\(Add\) reads 'each', which has other numbers for each of 2 entries",
    "r = Flatten (x)\n t = Transpose (r)\n y = MatMul (r, t)": "multiplies every entry of the batch with every other",
    "y = Reshape (x, mixed)": r"reshapes \[2, 4, 6, 6\] to \[3, 96\], in which the batch has no axis of its own",
    "y = Squeeze (x)": r"\(Squeeze\) removes whatever axes have the size 1, the batch perhaps among them",
    "y = Pad (x, pads)": r"\(Pad\) pads the axis of the batch",
    "m, i = MaxPool <kernel_shape = [2, 2]> (x)\n y = Neg (i)": "gives indices that count through the whole batch",
    "h = Shape (x)\n f = Cast <to = 1> (h)\n y = Div (x, f)": "computes with the size of the batch",
    "y = vendor.Blur (x)": r"\(Blur\) is not known to treat the entries of a batch one by one",
    "y = NonZero (x)": r"\(NonZero\) is not known to treat the entries of a batch one by one",
    "y = Transpose <perm = [1, 0, 2, 3]> (x)": "output 'y' has the batch in axis 1, not in the first",
    "y = Reshape (x, many)": "output 'y' has 4 entries in its first axis for each of the batch",
    "y = Shape (x)": "output 'y' is computed from the size of the batch",
}


def mixing(text: str) -> ir.Model:
    weights = {
        "zero": vector(0, 0, 0, 0),
        "one": vector(1, 1, 1, 1),
        "far": vector(9, 9, 9, 9),
        "each": normal(2, 1, 1, 1),
        "mixed": vector(3, 96),
        "pads": vector(1, 0, 0, 0, 0, 0, 0, 0),
        "many": vector(8, 36),
    }
    is_custom = "vendor." in text
    model = parse(f"g (float[2,4,6,6] x) => (float[] y) {{ {text.replace('vendor.Blur', 'Relu')} }}", weights=weights)
    proto = ir.to_proto(model)
    if is_custom:
        proto.graph.node[0].op_type, proto.graph.node[0].domain = "Blur", "vendor"
        proto.opset_import.append(onnx.helper.make_opsetid("vendor", 1))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return ir.from_proto(proto)


@pytest.mark.parametrize("text", MIX)
def test_what_mixes_the_entries_is_refused_and_nothing_changes(text: str) -> None:
    model = mixing(text)
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(PassError, match=MIX[text]):
        ChangeBatch(size="dynamic").apply(model)
    with pytest.raises(PassError):
        ChangeBatch(size=7).apply(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_shape_inference_would_find_a_target_that_was_forgotten() -> None:
    model = parse("g (float[N,4,6] x) => (float[N,24] y) { y = Reshape (x, s) }", weights={"s": vector(1, 24)})
    with pytest.raises(PassError, match="output 'y' has 1 entries for a batch of 2 by shape inference; export the"):
        prove(model, model.graph.inputs, model.graph.outputs, None)


TWO = """g (float[2,3] x, float[2,3] z, float[3] bias, float t) => (float[2,3] y, float[3] still) {
    a = Add (x, z)
    b = Add (a, bias)
    y = Mul (b, t)
    still = Neg (bias)
}"""


def test_inputs_of_the_same_first_size_change_together_and_others_stay() -> None:
    model = parse(TWO)
    report = ChangeBatch(size="dynamic").apply(model)
    assert report.facts["inputs"] == ["x", "z"]
    assert (report.facts["outputs"], report.facts["outputs_without_batch"]) == (["y"], ["still"])
    assert report.left_alone == {"bias": "its first axis is 3, and that of 'x' is 2", "t": "it is a scalar"}
    assert [str(value.shape) for value in model.graph.inputs] == ["[batch,3]", "[batch,3]", "[3]", "[]"]
    x, z, bias = normal(5, 3), normal(5, 3, seed=1), normal(3, seed=2)
    y, still = run(model, {"x": x, "z": z, "bias": bias, "t": np.array(2, np.float32)})
    np.testing.assert_allclose(y, 2 * (x + z + bias), rtol=1e-6)
    np.testing.assert_array_equal(still, -bias)


def test_a_default_is_no_batch() -> None:
    text = "g (float[1,3] x, float[1,3] gain) => (float[1,3] y) { y = Mul (x, gain) }"
    model = parse(text, weights={"gain": normal(1, 3)})
    assert ChangeBatch(size="dynamic").apply(model).facts["inputs"] == ["x"]
    x = normal(4, 3, seed=1)
    np.testing.assert_array_equal(run(model, {"x": x})[0], x * normal(1, 3))


BRANCH = """g (float[B,3] x, bool flip) => (float[B,3] y) {
    scale = If (flip) <
        then_branch = t () => (float[3] t1) { t1 = Neg (w) },
        else_branch = e () => (float[3] e1) { e1 = Identity (w) }>
    y = Mul (x, scale)
}"""
INSIDE = """g (float[B,3] x, bool flip) => (float[B,3] y) {
    y = If (flip) <
        then_branch = t () => (float[B,3] t1) { t1 = Neg (x) },
        else_branch = e () => (float[B,3] e1) { e1 = Identity (x) }>
}"""


def test_a_body_that_does_not_see_the_batch_is_no_obstacle() -> None:
    weights: dict[str, Array] = {"w": normal(3)}
    model = parse(BRANCH.replace("B", "1"), weights=weights)
    ChangeBatch(size="dynamic").apply(model)
    agrees(parse(BRANCH.replace("B", "1"), weights=weights), model, flip=np.array(True))


def test_a_body_that_does_is_refused_from_fixed_and_taken_from_dynamic() -> None:
    with pytest.raises(PassError, match=r"'/If_0' \(If\) is not known to treat the entries of a batch one by one"):
        ChangeBatch(size="dynamic").apply(parse(INSIDE.replace("B", "1")))
    model = parse(INSIDE.replace("B", "N"))
    report = ChangeBatch(size=2).apply(model)
    assert report.facts["outputs"] == ["y"]
    x = normal(2, 3)
    np.testing.assert_array_equal(run(model, {"x": x, "flip": np.array(True)})[0], -x)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(model, {"x": normal(3, 3), "flip": np.array(True)})


@pytest.mark.parametrize("first", ["N", "batch"])
def test_a_dynamic_batch_becomes_fixed(first: str) -> None:
    text = f"""g (float[{first},4] x, float[M,4] z) => (float[{first},2,2] y, float[M,4] n) {{
        y = Reshape (x, s)
        n = Neg (z)
    }}"""
    model = parse(text, weights={"s": vector(-1, 2, 2)})
    report = ChangeBatch(size=4).apply(model)
    assert [str(v.shape) for v in (*model.graph.inputs, *model.graph.outputs)] == [
        "[4,4]",
        "[M,4]",
        "[4,2,2]",
        "[M,4]",
    ]
    assert report.summary == "batch dynamic became 4"
    assert report.left_alone == {"z": f"its first axis is M, and that of 'x' is {first}"}
    x = normal(4, 4)
    np.testing.assert_array_equal(run(model, {"x": x, "z": x})[0], x.reshape(4, 2, 2))


def test_another_name_of_a_dynamic_batch_becomes_batch() -> None:
    model = parse("g (float[N,4] x) => (float[N,4] y) { y = Relu (x) }")
    ChangeBatch(size="dynamic").apply(model)
    assert [str(v.shape) for v in (*model.graph.inputs, *model.graph.outputs)] == ["[batch,4]"] * 2
    assert ChangeBatch(size="dynamic").apply(model).changed == 0
    taken = parse("g (float[N,batch] x) => (float[N,batch] y) { y = Relu (x) }")
    with pytest.raises(PassError, match="an axis of the inputs that is not 'N' is named 'batch' already"):
        ChangeBatch(size="dynamic").apply(taken)


def test_a_dynamic_batch_that_is_folded_into_another_axis_is_refused() -> None:
    model = parse("g (float[N,4] x) => (float[M] y) { y = Reshape (x, s) }", weights={"s": vector(-1)})
    with pytest.raises(PassError, match="output 'y' does not have the batch in its first axis alone"):
        ChangeBatch(size=3).apply(model)


@pytest.mark.parametrize("size", [0, -1, True, "eight", 2.0])
def test_what_is_no_batch_is_refused(size: Any) -> None:
    with pytest.raises(PassError, match=f"the batch size must be at least 1, not {size}; pass --batch dynamic"):
        ChangeBatch(size=size).apply(parse(TWO))


def test_a_graph_without_a_batch_is_refused() -> None:
    model = parse("g (float x) => (float y) { y = Neg (x) }")
    with pytest.raises(PassError, match="the graph has no input with an axis for a batch; leave out --batch"):
        ChangeBatch(size=3).apply(model)


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("name", "options", "old", "size"),
    [
        ("test_nfnet", {}, 1, "dynamic"),
        ("vit_tiny_r_s16_p8_224", {"num_classes": 8}, 2, "dynamic"),
        pytest.param("vit_tiny_r_s16_p8_224", {"num_classes": 8}, "dynamic", 4, marks=pytest.mark.slow),
        ("test_vit2", {"opset": 11}, 1, 3),
        pytest.param("test_vit3", {"opset": 18}, 2, "dynamic", marks=pytest.mark.slow),
    ],
)
def test_real_networks(name: str, options: dict[str, Any], old: Any, size: Any, tmp_path: Path) -> None:
    before, after = tmp_path / "old.onnx", tmp_path / "new.onnx"
    nfexport.export(name, before, batch=old, verify=False, **options)
    model = ir.load(before)
    assert ChangeBatch(size=size).apply(model).facts["unproved"] == []
    ir.save(model, after)
    onnx.checker.check_model(str(after), full_check=True)
    source, target = session(before), session(after)
    shape = source.get_inputs()[0].shape[1:]
    filled = 1 if old == "dynamic" else old
    for count in (1, 3) if size == "dynamic" else (size,):
        x = normal(count, *shape, seed=count)
        found = target.run(None, {"input": x})[0]
        alone = [source.run(None, {"input": np.repeat(x[i : i + 1], filled, 0)})[0][:1] for i in range(count)]
        right = np.concatenate(alone)
        # float32: another batch lets a product of matrices sum in another order, layer after layer
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-5 * np.abs(right).max())
        # entries are told apart: the numbers of another picture are further away than that
        assert np.abs(found - np.roll(right, 1, 0)).max() > 1e-3 * np.abs(right).max() or count == 1

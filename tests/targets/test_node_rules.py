"""Each kind of rule: what it refuses, what it lets through, and that the message names node and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.targets.files import findings, graph, lone, write

PADS = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
SIZES = {"sizes": np.array([1, 3, 16, 16])}


@pytest.mark.parametrize(
    ("target", "nodes", "problem"),
    [
        (
            "migraphx",
            'y = Resize <mode = "cubic"> (x, , , sizes)',
            "mode = cubic; only nearest or linear is supported",
        ),
        (
            "tensorrt",
            'y = Resize <mode = "cubic"> (x, , , sizes)',
            "mode = cubic; only nearest or linear is supported",
        ),
        (
            "migraphx",
            'y = Resize <mode = "linear", antialias = 1> (x, , , sizes)',
            "antialias = 1; only 0 is supported",
        ),
        (
            "tensorrt",
            'y = Resize <mode = "linear", antialias = 1> (x, , , sizes)',
            "antialias = 1; only 0 is supported",
        ),
        ("migraphx", "y = Resize <exclude_outside = 1> (x, , , sizes)", "exclude_outside = 1; only 0 is supported"),
        (
            "openvino",
            'y = Resize <coordinate_transformation_mode = "half_pixel_symmetric"> (x, , , sizes)',
            "coordinate_transformation_mode = half_pixel_symmetric; only half_pixel or pytorch_half_pixel",
        ),
        ("tensorrt", "y = MaxPool <kernel_shape = [2]> (x)", "kernel_shape has 1 entries; only 2 or 3 are supported"),
        (
            "tensorrt",
            "y = MaxPool <kernel_shape = [2,2], dilations = [1,2]> (x)",
            "dilations = [1, 2]; only 1 is supported",
        ),
        ("tensorrt", "y, i = MaxPool <kernel_shape = [2,2]> (x)", "2 of its outputs are used; only 1 is supported"),
        (
            "tensorrt",
            'c = Constant <value_string = "a"> () y = Relu(x)',
            "it has value_string, which is not supported",
        ),
    ],
)
def test_an_attribute_or_an_output_that_is_not_supported(
    tmp_path: Path, target: str, nodes: str, problem: str
) -> None:
    found = lone(write(tmp_path / "m.onnx", graph(nodes), opset=19, weights=SIZES), target)
    assert found.problem.startswith(problem)
    assert found.effect == "refused"
    assert found.fix


def test_what_is_supported_gives_no_finding_nor_does_a_default(tmp_path: Path) -> None:
    nodes = 'a = Resize <mode = "linear"> (x, , , sizes) y = MaxPool <kernel_shape = [2,2], dilations = [1,1]> (a)'
    path = write(tmp_path / "m.onnx", graph(nodes), opset=19, weights=SIZES)
    for target in ("migraphx", "tensorrt", "openvino", "onnxruntime"):
        assert findings(path, target) == []


def test_a_default_that_is_not_supported_is_found(tmp_path: Path) -> None:
    """auto_pad and such are seldom written out; the rule for MaxPool in ONNX Runtime rests on a default."""
    nodes = 'p = Pad (x, pads) y = MaxPool <kernel_shape = [3,3], auto_pad = "NOTSET"> (p)'
    explicit = write(tmp_path / "a.onnx", graph(nodes), weights=PADS)
    default = write(tmp_path / "b.onnx", graph(nodes.replace(', auto_pad = "NOTSET"', "")), weights=PADS)
    assert lone(explicit, "onnxruntime").problem == lone(default, "onnxruntime").problem


def test_an_input_has_to_be_constant_and_constants_that_are_computed_count(tmp_path: Path) -> None:
    body = "g (float[1,3,8,8] x, int64[8] n) => (float[1,3,H,W] y) { y = Pad (x, n) }"
    found = lone(write(tmp_path / "a.onnx", body), "migraphx")
    assert found.problem == "its input pads ('n') is computed at run time, and has to be constant"
    assert found.fix == f"run 'nfexport surgery {tmp_path}/a.onnx -o OUT.onnx --simplify'"
    nodes = "one = Constant <value_int = 1> () more = Mul (pads, one) y = Pad (x, more)"
    assert findings(write(tmp_path / "b.onnx", graph(nodes), weights=PADS), "migraphx") == []
    nodes = "s = Shape (x) two = Concat <axis = 0> (s, s) y = Pad (x, two)"
    assert len(findings(write(tmp_path / "c.onnx", graph(nodes)), "migraphx")) == 1


def test_the_value_of_a_small_input_is_read(tmp_path: Path) -> None:
    nodes = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"

    def weights(zero: int) -> dict[str, np.ndarray]:
        return {"s": np.array(0.1, np.float32), "z": np.array(zero, np.int8)}

    assert findings(write(tmp_path / "a.onnx", graph(nodes), weights=weights(0)), "tensorrt") == []
    found = findings(write(tmp_path / "b.onnx", graph(nodes), weights=weights(3)), "tensorrt")
    assert [entry.operator for entry in found] == ["QuantizeLinear", "DequantizeLinear"]
    assert found[0].problem == "its input y_zero_point holds 3; only 0 is supported"


def test_a_value_above_the_maximum_is_found(tmp_path: Path) -> None:
    body = "g (float[1,9000] x) => (float[1,K] y, int64[1,K] i) { y, i = TopK (x, k) }"
    assert findings(write(tmp_path / "a.onnx", body, weights={"k": np.array([3839])}), "tensorrt") == []
    found = lone(write(tmp_path / "b.onnx", body, weights={"k": np.array([3840])}), "tensorrt")
    assert found.problem == "its input K holds 3840; at most 3839 is supported"


@pytest.mark.parametrize(("opset", "outputs"), [(11, "y, a, b, c, d"), (15, "y, a, b")])
def test_batch_normalization_in_training_form(tmp_path: Path, opset: int, outputs: str) -> None:
    """On activations no flag helps; the targets differ in what they make of it."""
    attribute = "<training_mode = 1>" if opset >= 14 else ""
    nodes = f"{outputs} = BatchNormalization {attribute} (x, s, s, s, s)"
    path = write(tmp_path / "m.onnx", graph(nodes), opset=opset, weights={"s": np.ones(3, np.float32)})
    effects = {target: lone(path, target) for target in ("migraphx", "tensorrt", "openvino", "onnxruntime")}
    assert {name: found.effect for name, found in effects.items()} == {
        "migraphx": "wrong",
        "tensorrt": "refused",
        "openvino": "caution",
        "onnxruntime": "caution",
    }
    assert all(found.operator == "BatchNormalization" for found in effects.values())
    assert effects["tensorrt"].fix == "export the model in evaluation mode"
    assert "CUDA provider refuses it" in effects["onnxruntime"].problem


def test_batch_normalization_as_it_should_be_is_supported(tmp_path: Path) -> None:
    nodes = "y = BatchNormalization (x, s, s, s, s)"
    path = write(tmp_path / "m.onnx", graph(nodes), weights={"s": np.ones(3, np.float32)})
    for target in ("migraphx", "tensorrt", "openvino", "onnxruntime"):
        assert findings(path, target) == []


def test_an_operator_of_certain_patterns_is_a_caution(tmp_path: Path) -> None:
    nodes = "s = SplitToSequence <axis = 1> (x) i = Constant <value_int = 0> () y = SequenceAt (s, i)"
    found = lone(write(tmp_path / "m.onnx", graph(nodes)), "openvino")
    assert (found.operator, found.effect) == ("SequenceAt", "caution")

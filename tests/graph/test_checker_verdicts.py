"""The checker's verdict without the weights is the checker's verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nfexport.errors import OnnxFileError
from nfexport.graph.checker import refusal

WEIGHTS = np.ones((64, 3, 11, 11), np.float32)  # 92,928 bytes: stepped over, not read


def model() -> onnx.ModelProto:
    """A large convolution, and a Reshape whose target is read."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        helper.make_node("Reshape", ["y", "target"], ["z"], name="reshape"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 21, 21])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 64 * 121])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array([2, -1]), "target")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def nothing(_: onnx.ModelProto) -> None:
    pass


def wrong_rank(m: onnx.ModelProto) -> None:
    m.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHTS.reshape(64, 3, 121), "w"))


def wrong_type(m: onnx.ModelProto) -> None:
    m.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHTS.astype(np.float64), "w"))


def wrong_output(m: onnx.ModelProto) -> None:
    m.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5


def unknown_operator(m: onnx.ModelProto) -> None:
    m.graph.node[0].op_type = "Convolve"


def missing_weight(m: onnx.ModelProto) -> None:
    del m.graph.initializer[0]


def two_of_a_name(m: onnx.ModelProto) -> None:
    m.graph.initializer.append(m.graph.initializer[0])


def numbers_in_another_field(m: onnx.ModelProto) -> None:
    m.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, WEIGHTS.shape, WEIGHTS.ravel()))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        (nothing, True),
        (numbers_in_another_field, True),
        (wrong_rank, False),
        (wrong_type, False),
        (wrong_output, False),
        (unknown_operator, False),
        (missing_weight, False),
        (two_of_a_name, False),
    ],
)
def test_what_the_checker_refuses_is_refused(
    change: Callable[[onnx.ModelProto], None], fits: bool, tmp_path: Path
) -> None:
    changed = model()
    change(changed)
    path = tmp_path / "m.onnx"
    onnx.save(changed, path)
    try:
        onnx.checker.check_model(str(path), full_check=True)
        reason = None
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
    assert (reason is None) is fits
    if change is not two_of_a_name:  # told of an input's name here, of an initializer's there
        assert refusal(path) == reason
    assert (refusal(path) is None) is fits


def test_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    short = model()
    short.graph.initializer[0].raw_data = WEIGHTS.tobytes()[:-4]
    onnx.save(short, tmp_path / "m.onnx")
    with pytest.raises(OnnxFileError, match="92,924 bytes where its shape takes 92,928"):
        refusal(tmp_path / "m.onnx")

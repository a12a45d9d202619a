"""The facts of a file, as a user reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nfexport
from nfexport.errors import OnnxFileError, RecipeError
from nfexport.graph.tensors import byte_count, dtype_name, is_floating
from nfexport.inspection import TensorFacts, inspect
from nfexport.recipe.metadata import RECIPE_KEY
from tests.inspection.files import floats, model, network, node


def save(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def test_the_facts_of_a_small_network(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", network())
    facts = inspect(str(path))
    assert facts.path == path
    assert facts.file_size == facts.total_size == path.stat().st_size
    assert (facts.external_size, facts.external_data) == (0, ())
    assert (facts.ir_version, facts.opset_imports, facts.producer) == (8, {"": 13}, "tests 1")
    assert facts.inputs == (TensorFacts(name="image", dtype="float32", shape=("batch", 3, 8, 8)),)
    assert facts.outputs == (TensorFacts(name="out", dtype="float32", shape=None),)
    assert facts.operator_counts == {"Conv": 1, "Gemm": 1, "Relu": 1, "Reshape": 1}
    assert facts.node_count == 4
    assert facts.initializer_count == 5
    assert facts.parameters == facts.counted_parameters == 837  # the int64 shape is no parameter
    assert facts.initializer_bytes == 4 * 837 + 2 * 8
    assert (facts.conv_count, facts.computed_conv_weights, facts.constant_conv_weights) == (1, 0, 0)
    assert facts.training_batch_norms == 0
    assert (facts.recipe, facts.recipe_error) == (None, None)


def test_the_facts_are_strict_json(tmp_path: Path) -> None:
    facts = inspect(save(tmp_path / "a.onnx", network())).to_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 3, 8, 8]}]


@pytest.mark.parametrize(
    ("shape", "expected"), [(None, None), ((), ()), ((1, None, "h"), (1, "?", "h")), ((0, 2), (0, 2))]
)
def test_shapes_are_told_as_they_are_stated(
    shape: tuple[int | str | None, ...] | None, expected: tuple[int | str, ...] | None, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.onnx", model([node("Relu", "image", "out")], shape=shape))
    assert inspect(path).inputs[0].shape == expected


def test_an_initializer_with_a_default_is_no_input(tmp_path: Path) -> None:
    """Up to IR version 3 every initializer is listed among the inputs."""
    proto = network()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    assert [tensor.name for tensor in inspect(save(tmp_path / "a.onnx", proto)).inputs] == ["image"]


def test_external_data_is_added_up(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    onnx.save_model(network(), path, save_as_external_data=True, location="a.data", size_threshold=0)
    facts = inspect(path)
    size = (tmp_path / "a.data").stat().st_size
    assert facts.external_data == ("a.data",)
    assert facts.external_size == size > 3000
    assert facts.total_size == path.stat().st_size + size
    assert facts.counted_parameters == 837


def test_missing_external_data_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    onnx.save_model(network(), path, save_as_external_data=True, location="a.data", size_threshold=0)
    (tmp_path / "a.data").unlink()
    with pytest.raises(OnnxFileError) as caught:
        inspect(path)
    assert str(caught.value) == (
        f"'{path}' keeps weights in 'a.data', which is not next to it; put the two files into one folder"
    )


def test_a_recipe_that_cannot_be_read_does_not_hide_the_other_facts(tmp_path: Path) -> None:
    facts = inspect(save(tmp_path / "a.onnx", network(metadata={RECIPE_KEY: "{}"})))
    assert facts.counted_parameters == 837
    assert facts.recipe is None
    assert isinstance(facts.recipe_error, RecipeError)
    assert facts.to_dict()["recipe_error"] == str(facts.recipe_error)


def test_the_facts_of_an_exported_network(tmp_path: Path) -> None:
    plain = nfexport.export("test_nfnet", tmp_path / "plain.onnx", image_size=96, verify=False)
    folded = nfexport.export("test_nfnet", tmp_path / "folded.onnx", image_size=96, fold_ws=True, verify=False)
    before, after = inspect(plain.path), inspect(folded.path)
    assert (before.computed_conv_weights, after.computed_conv_weights) == (25, 0)
    assert before.training_batch_norms + before.operator_counts.get("ReduceMean", 0) >= 25
    assert after.training_batch_norms == 0
    assert after.counted_parameters == 381_768  # 383,080 less 1,312 gains
    assert after.recipe == folded.recipe
    assert after.to_dict()["recipe"] == json.loads(folded.recipe.to_json())


@pytest.mark.parametrize("length", [1, 17, 1000])
def test_sizes_agree_with_what_numpy_stores(length: int) -> None:
    for dtype in (np.float32, np.float16, np.float64, np.int64, np.int8, np.bool_, np.uint16):
        tensor = numpy_helper.from_array(np.zeros(length, dtype), "x")
        assert byte_count(tensor) == len(tensor.raw_data)
        assert dtype_name(tensor.data_type) == np.dtype(dtype).name
        assert is_floating(tensor) == np.issubdtype(dtype, np.floating)


def test_four_bit_types_are_packed_and_unknown_types_have_no_size() -> None:
    assert byte_count(onnx.TensorProto(data_type=TensorProto.INT4, dims=[5])) == 3
    assert byte_count(onnx.TensorProto(data_type=TensorProto.BFLOAT16, dims=[5])) == 10
    assert is_floating(onnx.TensorProto(data_type=TensorProto.BFLOAT16))
    assert is_floating(onnx.TensorProto(data_type=TensorProto.FLOAT8E4M3FN))
    assert byte_count(onnx.TensorProto(data_type=99, dims=[5])) == 0
    assert dtype_name(99) == "type 99"
    assert byte_count(floats("scalar")) == 4


def test_inspection_does_not_import_torch() -> None:
    code = "import sys, nfexport.inspection; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

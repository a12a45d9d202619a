"""Two files, and in what they differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import nfexport
from nfexport.cli import run


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diff") / "a.onnx"
    nfexport.export("test_nfnet", path, image_size=96, fold_ws=True, num_classes=10, verify=False)
    return path


def changed(first: Path, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    proto = onnx.load(first)
    change(proto)
    path = folder / "b.onnx"
    onnx.save(proto, path)
    return path


def test_a_file_equals_itself(first: Path) -> None:
    assert nfexport.diff(first, first).equal
    assert run(["diff", str(first), str(first)]) == 0


def _weight(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[0] += 0.25
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _attribute(proto: onnx.ModelProto) -> None:
    node = next(node for node in proto.graph.node if node.op_type == "Conv")
    next(a for a in node.attribute if a.name == "strides").ints[:] = [1, 1]


def _opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 16


def _output(proto: onnx.ModelProto) -> None:
    old = proto.graph.output[0].name
    for node in proto.graph.node:
        node.output[:] = ["scores" if name == old else name for name in node.output]
    proto.graph.output[0].name = "scores"


def _rename_weight(proto: onnx.ModelProto) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == "stem.conv1.weight")
    for node in proto.graph.node:
        node.input[:] = ["other" if name == tensor.name else name for name in node.input]
    tensor.name = "other"


def _metadata(proto: onnx.ModelProto) -> None:
    proto.metadata_props.add(key="author", value="somebody")


@pytest.mark.parametrize(
    ("change", "part", "detail"),
    [
        (_weight, "initializers", "1 of"),
        (_attribute, "nodes", ""),
        (_opset, "opset", ""),
        (_output, "outputs", ""),
        (_rename_weight, "initializers", "the same under another name"),
        (_metadata, "metadata", ""),
    ],
)
def test_each_difference_is_told(
    first: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None], part: str, detail: str
) -> None:
    difference = nfexport.diff(first, changed(first, tmp_path, change))
    found = [entry for entry in difference.changes if entry.part == part]
    assert found
    assert any(detail in entry.detail for entry in found)
    assert run(["diff", str(first), str(tmp_path / "b.onnx"), "-q"]) == 1


def test_values_within_atol_do_not_count(first: Path, tmp_path: Path) -> None:
    other = changed(first, tmp_path, _weight)
    # on either side of the 0.25 that _weight adds
    assert nfexport.diff(first, other, atol=0.3).equal
    assert not nfexport.diff(first, other, atol=0.2).equal


def test_nan_on_both_sides_is_equal_and_on_one_is_not(first: Path, tmp_path: Path) -> None:
    def poison(proto: onnx.ModelProto) -> None:
        tensor = proto.graph.initializer[0]
        array = onnx.numpy_helper.to_array(tensor).copy()
        array.reshape(-1)[0] = np.nan
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    other = changed(first, tmp_path, poison)
    assert nfexport.diff(other, other).equal
    assert not nfexport.diff(first, other, atol=1e9).equal


def test_recipes_are_compared_field_by_field(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "b.onnx"
    nfexport.export("test_nfnet", other, image_size=96, fold_ws=True, num_classes=10, opset=13, verify=False)
    assert run(["diff", str(first), str(other), "--json"]) == 1
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert {"part": "recipe", "name": "opset", "first": 17, "second": 13, "detail": ""} in changes


def test_a_missing_file_is_one_sentence(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diff", str(first), str(tmp_path / "no.onnx")]) == 2
    assert "no.onnx" in capsys.readouterr().err

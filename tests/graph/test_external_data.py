"""Where a file may keep its weights: in its own folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nfexport.errors import OnnxFileError
from nfexport.inspection import inspect
from nfexport.recipe.metadata import EXTERNAL_KEY


def written(path: Path, location: str, *, length: str = "4096", offset: str = "0") -> Path:
    """Write a file whose one initializer, 1024 numbers, lies in another."""
    tensor = onnx.numpy_helper.from_array(np.zeros(1024, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1024])
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [], [value], [tensor])
    path.write_bytes(onnx.helper.make_model(graph, ir_version=8).SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../w.data", "sub/../../w.data", "/etc/hostname", "C:\\w.data", "..\\w.data"])
def test_a_location_outside_the_folder_is_refused_by_name(tmp_path: Path, location: str) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "w.data").write_bytes(bytes(4096))
    path = written(tmp_path / "in" / "m.onnx", location)
    with pytest.raises(OnnxFileError) as caught:
        inspect(path)
    assert caught.value.problem == f"'{path}' keeps weights in '{location}', which is outside its folder"


def test_a_link_out_of_the_folder_is_refused_and_a_cache_of_links_is_not(tmp_path: Path) -> None:
    for name in ("in", "blobs"):
        (tmp_path / name).mkdir()
    (tmp_path / "blobs" / "1").write_bytes(bytes(4096))
    (tmp_path / "in" / "w.data").symlink_to(tmp_path / "blobs" / "1")
    path = written(tmp_path / "in" / "m.onnx", "w.data")
    with pytest.raises(OnnxFileError, match="outside its folder"):
        inspect(path)
    path.replace(tmp_path / "blobs" / "2")
    path.symlink_to(tmp_path / "blobs" / "2")
    assert inspect(path).external_size == 4096


def test_a_folder_below_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.data").write_bytes(bytes(4096))
    assert inspect(written(tmp_path / "m.onnx", "sub/w.data")).external_data == ("sub/w.data",)


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"offset": "64"}, "bytes 64 to 4,160, and the file ends at 4,096"),
        ({"length": "4092"}, "4,092 bytes, and its shape takes 4,096"),
        ({"offset": "-1"}, "an offset of '-1' and a length of '4096' bytes"),
    ],
)
def test_bytes_that_are_not_there_are_told(tmp_path: Path, entries: dict[str, str], what: str) -> None:
    (tmp_path / "w.data").write_bytes(bytes(4096))
    with pytest.raises(OnnxFileError, match=r"keeps 'w' in 'w\.data' with") as caught:
        inspect(written(tmp_path / "m.onnx", "w.data", **entries))
    assert what in caught.value.problem


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(bytes(4096))
    path = written(tmp_path / "m.onnx", "w.data")
    proto = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(proto, {EXTERNAL_KEY: '{"location": "w.data"}'})
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(OnnxFileError, match=f"the entry '{EXTERNAL_KEY}' in the metadata"):
        inspect(path)

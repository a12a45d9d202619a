"""Reading a file without its weights gives what protobuf gives, less the weights, and notices damage."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nfexport.graph.header import skim
from nfexport.graph.wire_format import DamagedError
from tests.inspection.files import floats, model, network, node


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_everything_but_raw_data_is_there(tmp_path: Path) -> None:
    original = network(metadata={"key": "value"})
    path = write(tmp_path / "a.onnx", original.SerializeToString())
    assert all(tensor.raw_data for tensor in original.graph.initializer)
    for tensor in original.graph.initializer:
        tensor.ClearField("raw_data")
    assert skim(path) == original


def test_values_outside_raw_data_are_kept(tmp_path: Path) -> None:
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    original = model([node("Add", "image w", "out")], [tensor])
    assert skim(write(tmp_path / "a.onnx", original.SerializeToString())) == original


def test_a_large_initializer_is_not_read(tmp_path: Path) -> None:
    """512 MB that the file system need not store, either: they are a hole."""
    head = model([node("Relu", "image", "out")]).SerializeToString()
    size = 2**29
    tensor = onnx.TensorProto(name="big", data_type=onnx.TensorProto.UINT8, dims=[size]).SerializeToString()
    tensor += b"\x4a" + varint(size)
    graph = b"\x2a" + varint(len(tensor) + size) + tensor
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(head + b"\x3a" + varint(len(graph) + size) + graph)  # a second piece of the graph, which merges
        file.truncate(file.tell() + size)
    found = skim(path)
    assert [tensor.name for tensor in found.graph.initializer] == ["big"]
    assert found.ByteSize() < 1000


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_file_cut_off_anywhere_is_damaged(tmp_path: Path) -> None:
    """Except where the cut falls between two fields of the model: what is left is a smaller message."""
    data = network().SerializeToString()
    graph_ends = data.index(b"\x42\x04\x0a\x00\x10\x0d")  # the opset import follows the graph
    path = tmp_path / "cut.onnx"
    for length in range(1, graph_ends, 3):  # every kind of field is cut somewhere
        path.write_bytes(data[:length])
        try:
            found = skim(path)
        except DamagedError:
            continue
        assert not found.graph.node, length


def test_an_initializer_with_too_few_bytes_is_damaged(tmp_path: Path) -> None:
    broken = network()
    broken.graph.initializer[0].raw_data = broken.graph.initializer[0].raw_data[:-4]
    with pytest.raises(DamagedError, match="initializer 'w' holds 428 bytes where its shape takes 432"):
        skim(write(tmp_path / "a.onnx", broken.SerializeToString()))


@pytest.mark.parametrize("data", [b"\xff" * 40, b"\x0b\x00", b"\x0a\x80", b"\x09\x00", b"\x3a\x02\x08\x80"])
def test_what_is_no_message_is_damaged(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedError):
        skim(write(tmp_path / "a.onnx", data))


def test_external_tensors_have_no_bytes_to_check(tmp_path: Path) -> None:
    tensor = floats("w", 3)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    original = model([node("Add", "image w", "out")], [tensor])
    assert skim(write(tmp_path / "a.onnx", original.SerializeToString())) == original

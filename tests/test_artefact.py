"""Files appear whole or not at all, and hold what protobuf's own serialiser would write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport import artefact
from nfexport.errors import OutputError
from tests.passes.graphs import normal, parse


def model_with_large_weights() -> ir.Model:
    return parse(
        """g (float[N,64] x) => (float[N,64] y) {
            a = MatMul (x, big)
            b = Add (a, half)
            y = MatMul (b, transposed)
        }""",
        weights={
            "big": normal(64, 64),
            "half": np.float16(0.5).astype(np.float32),
            "transposed": normal(64, 64).T,
        },
    )


def test_the_streamed_file_equals_protobufs_own(tmp_path: Path) -> None:
    model = model_with_large_weights()
    expected = ir.to_proto(model)
    artefact.write_model(model, tmp_path / "m.onnx")
    written = onnx.load(tmp_path / "m.onnx")
    for proto in (expected, written):
        initializers = sorted(proto.graph.initializer, key=lambda tensor: tensor.name)
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in initializers}
        if proto is expected:
            wanted = arrays
        del proto.graph.initializer[:]
        inner = [info for info in proto.graph.value_info if info.name not in arrays]
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(inner)
    assert written == expected
    assert arrays.keys() == wanted.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, wanted[name])


def test_writing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = model_with_large_weights()
    artefact.write_model(model, tmp_path / "a.onnx")
    artefact.write_model(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_failure_leaves_neither_target_nor_partial_file(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    with pytest.raises(ValueError, match="midway"), artefact.staged(target) as partial:
        partial.write_bytes(b"half")
        raise ValueError("midway")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="midway"), artefact.staged(target) as partial:
        partial.write_bytes(b"half")
        raise ValueError("midway")
    assert target.read_bytes() == b"old"


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    full = Path("/dev/full")
    # a device of Linux alone: elsewhere nothing fills up on demand
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OutputError, match="cannot be written \\(No space left on device\\)") as caught:  # noqa: SIM117
        with artefact.staged(tmp_path / "m.onnx") as partial:
            partial.symlink_to(full)
            artefact.write_model(model_with_large_weights(), partial)
    assert "free some space" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written_are_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        artefact.check_target(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        artefact.check_target(tmp_path / "nowhere" / "m.onnx")


def test_more_than_protobuf_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "PROTOBUF_LIMIT", 10_000)
    with pytest.raises(OutputError, match="more than the 2 GiB"):
        artefact.write_model(model_with_large_weights(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_four_bit_numbers_stay_packed(tmp_path: Path) -> None:
    """Two of them share a byte in a file, while numpy holds one in each."""
    numbers = np.arange(4096) % 16 - 8
    tensor = onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [4096], numbers)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Cast", ["q"], ["y"], to=onnx.TensorProto.FLOAT)],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4096])],
        [tensor],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    artefact.write_model(ir.from_proto(proto), tmp_path / "m.onnx")
    written = onnx.load(tmp_path / "m.onnx").graph.initializer[0]
    assert len(written.raw_data) == 2048
    assert (onnx.numpy_helper.to_array(written).astype(np.int64) == numbers).all()

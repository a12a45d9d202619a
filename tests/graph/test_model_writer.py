"""Files appear whole or not at all, and hold what protobuf's own serialiser would write."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.errors import OutputError
from nfexport.graph import atomic_files, model_writer
from nfexport.recipe.metadata import read_external_record
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
    model_writer.write_model(model, tmp_path / "m.onnx")
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
    model_writer.write_model(model, tmp_path / "a.onnx")
    model_writer.write_model(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_failure_leaves_neither_target_nor_partial_file(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    with pytest.raises(ValueError, match="midway"), atomic_files.staged(target) as partial:
        partial.write_bytes(b"half")
        raise ValueError("midway")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="midway"), atomic_files.staged(target) as partial:
        partial.write_bytes(b"half")
        raise ValueError("midway")
    assert target.read_bytes() == b"old"


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    full = Path("/dev/full")
    # a device of Linux alone: elsewhere nothing fills up on demand
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OutputError, match="cannot be written \\(No space left on device\\)") as caught:  # noqa: SIM117
        with atomic_files.staged(tmp_path / "m.onnx") as partial:
            partial.symlink_to(full)
            model_writer.write_model(model_with_large_weights(), partial)
    assert "free some space" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written_are_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        atomic_files.check_target(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        atomic_files.check_target(tmp_path / "nowhere" / "m.onnx")


def test_more_than_protobuf_can_hold_lies_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_writer, "PROTOBUF_LIMIT", 10_000)
    model_writer.write_model(model_with_large_weights(), tmp_path / "m.onnx")
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]
    with pytest.raises(OutputError, match="more than the 2 GiB") as caught:
        model_writer.write_model(model_with_large_weights(), tmp_path / "n.onnx", external_data=False)
    assert "--external-data" in caught.value.fix
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_beside_the_file_are_the_same_weights(tmp_path: Path) -> None:
    model = model_with_large_weights()
    model_writer.write_model(model, tmp_path / "one.onnx")
    model_writer.write_model(model, tmp_path / "pair.onnx", external_data=True)
    one, pair = onnx.load(tmp_path / "one.onnx"), onnx.load(tmp_path / "pair.onnx")
    for left, right in zip(one.graph.initializer, pair.graph.initializer, strict=True):
        assert left.name == right.name
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(left), onnx.numpy_helper.to_array(right))
    assert one.graph.node == pair.graph.node


def test_large_tensors_start_on_a_page_and_small_ones_stay(tmp_path: Path) -> None:
    weights = {"a": normal(64, 5), "b": normal(64, 64), "c": normal(64, 5), "s": normal(64)}
    model = parse(
        """g (float[N,64] x) => (float[N,5] y) {
            m = MatMul (x, b)
            n = Add (m, s)
            k = MatMul (n, a)
            j = MatMul (n, c)
            y = Add (k, j)
        }""",
        weights=weights,
    )
    model_writer.write_model(model, tmp_path / "m.onnx", external_data=True)
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    where = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in proto.graph.initializer
    }
    assert where["s"] == {}  # 256 bytes
    offsets = {name: int(entries["offset"]) for name, entries in where.items() if entries}
    assert offsets["b"] % 4096 == 0
    assert offsets["a"] % 64 == offsets["c"] % 64 == 0
    data = (tmp_path / "m.onnx.data").read_bytes()
    for name, offset in offsets.items():
        assert where[name]["location"] == "m.onnx.data"
        assert data[offset : offset + int(where[name]["length"])] == weights[name].tobytes()


def test_the_digest_is_that_of_the_file_and_goes_when_the_weights_come_back(tmp_path: Path) -> None:
    model = model_with_large_weights()
    model_writer.write_model(model, tmp_path / "m.onnx", external_data=True)
    data = (tmp_path / "m.onnx.data").read_bytes()
    record = read_external_record(ir.load(tmp_path / "m.onnx").metadata_props)
    assert record is not None
    assert (record.location, record.size) == ("m.onnx.data", len(data))
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    model_writer.write_model(ir.load(tmp_path / "m.onnx"), tmp_path / "again.onnx", external_data=False)
    assert read_external_record(ir.load(tmp_path / "again.onnx").metadata_props) is None


def pair(folder: Path, content: bytes) -> None:
    (folder / "m.onnx").write_bytes(content)
    (folder / "m.onnx.data").write_bytes(content)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_half_written_pair_never_stays(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), model_writer.staged_model(tmp_path / "m.onnx") as path:
        pair(path.parent, b"half")
        raise error
    assert names(tmp_path) == []


def test_a_pair_takes_the_place_of_a_pair_the_weights_first(tmp_path: Path) -> None:
    pair(tmp_path, b"old")
    with model_writer.staged_model(tmp_path / "m.onnx") as path:
        pair(path.parent, b"new")
        assert (tmp_path / "m.onnx").read_bytes() == b"old"
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert {file.read_bytes() for file in tmp_path.iterdir()} == {b"new"}


@pytest.mark.parametrize("fails", ["m.onnx", "m.onnx.data"])
@pytest.mark.parametrize("before", [True, False])
def test_a_rename_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, before: bool
) -> None:
    if before:
        pair(tmp_path, b"old")
    rename = Path.replace
    seen = []

    def replace(self: Path, target: Path) -> Path:
        if self.read_bytes() == b"new" and target.parent == tmp_path:
            seen.append(self.name)
            if self.name == fails:
                raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        model_writer.staged_model(tmp_path / "m.onnx") as path,
    ):
        pair(path.parent, b"new")
    assert seen[0] == "m.onnx.data"
    assert names(tmp_path) == (["m.onnx", "m.onnx.data"] if before else [])
    assert {file.read_bytes() for file in tmp_path.iterdir()} == ({b"old"} if before else set())


def test_a_folder_of_the_weights_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.data").mkdir()
    (tmp_path / "m.onnx.data" / "theirs").write_text("theirs")
    with pytest.raises(OutputError, match="is a folder"), model_writer.staged_model(tmp_path / "m.onnx") as path:
        pair(path.parent, b"new")
    assert names(tmp_path) == ["m.onnx.data"]
    assert names(tmp_path / "m.onnx.data") == ["theirs"]


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
    model_writer.write_model(ir.from_proto(proto), tmp_path / "m.onnx")
    written = onnx.load(tmp_path / "m.onnx").graph.initializer[0]
    assert len(written.raw_data) == 2048
    assert (onnx.numpy_helper.to_array(written).astype(np.int64) == numbers).all()

"""A network whose weights lie beside it goes through every command, and damage to the pair is noticed by each."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import onnx
import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import OnnxFileError
from nfexport.graph import model_writer
from nfexport.graph.external_data import check_digest
from nfexport.inspection.difference import diff


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "net.onnx"
    nfexport.export("test_nfnet", path, opset=11, fold_ws=True, image_size=64, external_data=True)
    return path


@pytest.fixture
def net(exported: Path, tmp_path: Path) -> Path:
    for name in ("net.onnx", "net.onnx.data"):
        shutil.copy(exported.with_name(name), tmp_path)
    return tmp_path / "net.onnx"


@pytest.fixture
def past_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every model as one that no message holds."""
    monkeypatch.setattr(model_writer, "PROTOBUF_LIMIT", 10_000)


def test_the_same_command_writes_the_same_two_files(exported: Path, tmp_path: Path) -> None:
    # without a verification, for which the module's weights have to live on
    result = nfexport.export(
        "test_nfnet", tmp_path / "net.onnx", opset=11, fold_ws=True, image_size=64, external_data=True, verify=False
    )
    assert result.facts.external_data == ("net.onnx.data",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == exported.with_name(path.name).read_bytes()


def test_inspect_says_where_the_weights_are(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(exported), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    size = exported.with_name("net.onnx.data").stat().st_size
    assert facts["external_data"] == ["net.onnx.data"]
    assert facts["external_record"]["size"] == facts["external_size"] == size
    assert facts["file_size"] < size / 10
    assert run(["inspect", str(exported)]) == 0
    assert f"{size:,} of them in net.onnx.data" in capsys.readouterr().out.replace("\n", " ").replace("  ", "")


def test_verify_bisects_and_tests_itself_as_on_one_file(exported: Path) -> None:
    result = nfexport.verify(exported, bisect=True, self_test=True, runtimes=["onnxruntime", "reference", "openvino"])
    assert result.passed
    assert result.diagnosis is not None
    assert result.diagnosis.bisection.culprit is None
    assert result.report.weights is not None
    assert result.report.weights.compared > 50


def test_what_no_message_holds_is_opened_from_a_temporary_folder(
    exported: Path, past_the_limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = nfexport.verify(exported, bisect=True, self_test=True)
    assert result.passed
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert run(["verify", str(exported), "--self-test", "-q"]) == 2  # not a fault that was noticed


def test_diff_does_not_mind_where_the_weights_are(exported: Path, tmp_path: Path) -> None:
    nfexport.surgery(exported, tmp_path / "one.onnx", rename={"output": "scores"}, external_data=False)
    nfexport.surgery(exported, tmp_path / "two.onnx", rename={"output": "scores"}, external_data=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "two.onnx", "two.onnx.data"]
    assert diff(tmp_path / "one.onnx", tmp_path / "two.onnx").equal
    assert not diff(tmp_path / "one.onnx", exported).equal


@pytest.mark.usefixtures("past_the_limit")
def test_surgery_past_the_limit_reads_and_writes_pairs(net: Path) -> None:
    result = nfexport.surgery(net, net, outputs=["probs"])  # in place: what is read is still mapped
    assert result.verification is not None
    assert result.verification.passed
    assert result.facts is not None
    assert result.facts.external_data == ("net.onnx.data",)
    assert sorted(path.name for path in net.parent.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert nfexport.verify(net).passed
    in_memory = nfexport.surgery(net, rename={"probs": "p"}).model
    assert "nfexport.external_data" not in {entry.key for entry in in_memory.metadata_props}
    assert not [t for t in in_memory.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]


def test_a_golden_of_one_file_holds_for_the_pair(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nfexport.surgery(net, net.with_name("one.onnx"), rename={"output": "output"}, external_data=False)
    assert run(["golden", "record", str(net)]) == 0
    assert run(["golden", "check", str(net)]) == 0
    capsys.readouterr()
    assert run(["golden", "check", str(net.with_name("one.onnx")), "--golden", str(net.with_suffix(".golden"))]) == 1
    changes = capsys.readouterr().err.strip().splitlines()
    assert len(changes) == 1  # what surgery did
    assert "recipe" in changes[0]


def _changed(data: Path) -> None:
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)


def _cut(data: Path) -> None:
    os.truncate(data, data.stat().st_size - 1000)


def _longer(data: Path) -> None:
    with data.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("command", [["verify"], ["golden", "check"], ["surgery", "-o", "out.onnx", "--strip"]])
def test_a_changed_byte_is_noticed(
    net: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.parent)
    _changed(net.with_name("net.onnx.data"))
    assert run([*command, str(net)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("nfexport: 'net.onnx.data' is not the file that was written with ")
    assert message.count("\n") == 1
    assert sorted(path.name for path in net.parent.iterdir()) == ["net.onnx", "net.onnx.data"]


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["golden", "check"], ["diff", "net.onnx"]])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "keeps weights in 'net.onnx.data', which is not next to it"),
        (_cut, "and the file ends at"),
        (_longer, "'net.onnx.data' has "),
    ],
)
def test_a_missing_cut_or_other_file_is_noticed(
    net: Path,
    command: list[str],
    damage: object,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(net.parent)
    damage(net.with_name("net.onnx.data"))  # type: ignore[operator]
    assert run([*command, "net.onnx"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_digest_of_weights_that_another_tool_has_moved_counts_for_nothing(net: Path) -> None:
    onnx.save(onnx.load(net), net.with_name("moved.onnx"), save_as_external_data=True, location="weights.bin")
    facts = nfexport.inspect(net.with_name("moved.onnx"))
    assert facts.external_data == ("weights.bin",)
    assert facts.external_record is None
    assert nfexport.verify(net.with_name("moved.onnx")).passed


def test_the_digest_is_checked_against_the_whole_file(net: Path) -> None:
    """Bytes between two tensors count too: nothing but what was written passes."""
    record = nfexport.inspect(net).external_record
    assert record is not None
    check_digest(net, record)
    data = net.with_name("net.onnx.data")
    content = bytearray(data.read_bytes())
    proto = onnx.load(net, load_external_data=False)
    spans = sorted(
        (int(entries["offset"]), int(entries["length"]))
        for tensor in proto.graph.initializer
        if (entries := {entry.key: entry.value for entry in tensor.external_data})
    )
    gap = next(a + n for (a, n), (b, _) in itertools.pairwise(spans) if a + n < b)
    assert content[gap] == 0
    content[gap] = 1
    data.write_bytes(content)
    with pytest.raises(OnnxFileError, match="is not the file that was written with"):
        check_digest(net, record)


@pytest.mark.slow  # 2 GB of weights, 2 GB on disk and 4 GB of memory
def test_a_network_of_half_a_billion_parameters(tmp_path: Path) -> None:
    import numpy as np

    from nfexport.runtimes import open_session

    path = tmp_path / "f7.onnx"
    result = nfexport.export(
        "nfnet_f7", path, opset=11, fold_ws=True, image_size=128, external_data=True, verify=False
    )
    assert result.facts.counted_parameters > 499_000_000
    assert path.stat().st_size < 1_000_000
    facts = nfexport.inspect(path)
    assert facts.external_record is not None
    check_digest(path, facts.external_record)
    picture = np.random.default_rng(0).standard_normal((1, 3, 128, 128)).astype(np.float32)
    (logits,) = open_session(path).run({"input": picture}).values()
    assert np.isfinite(logits).all()
    assert logits.std() > 0

"""The command line as a user meets it: output, exit codes, one sentence for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_MISSING, EXIT_OK, EXIT_VERIFICATION


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("cli") / "test_nfnet.onnx"
    assert run(["test_nfnet", "--opset", "11", "--fold-ws", "-q", "-o", str(target)]) == EXIT_OK
    return target


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said on stderr, after checking that it is one sentence and no traceback."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("nfexport: ")
    assert "Traceback" not in lines[0]
    return lines[0]


def test_export_prints_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["test_nfnet", "--opset", "11", "--fold-ws"]) == EXIT_OK
    captured = capsys.readouterr()
    assert (tmp_path / "test_nfnet.onnx").exists()
    assert captured.err == ""  # no progress in a pipe
    for fact in (
        "weights",
        "seeded (seed 0), untrained; add --pretrained for trained ones",
        "ai.onnx 11 (IR version 6)",
        "input  float32 [batch, 3, 160, 160]",
        "output  float32 [batch, 1000]",
        "25 convolution weights folded into constants",
        "largest error",
        "381,768 in Conv, Gemm and MatMul",
    ):
        assert fact in captured.out


def test_export_as_json_prints_one_object_with_the_same_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "m.onnx")
    assert run(["export", "test_nfnet", "--opset", "11", "--json", "-o", target]) == EXIT_OK
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert result["path"] == target
    assert result["verification"]["passed"] is True
    assert result["recipe"]["opset"] == 11
    assert result["file"]["computed_conv_weights"] == 25
    assert result["weights"].startswith("seeded (seed 0)")


def test_options_may_come_before_the_model(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    assert run(["--opset", "12", "-q", "--no-verify", "-o", str(target), "test_nfnet"]) == EXIT_OK
    assert onnx.load(target).opset_import[0].version == 12


def test_verify_passes_and_says_by_how_much(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(exported)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "passed" in out
    assert "of what is allowed" in " ".join(out.split())


def test_verify_fails_with_1_on_a_wrong_file(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(exported)
    for tensor in proto.graph.initializer:
        if tensor.name == "stem.conv1.weight":
            array = onnx.numpy_helper.to_array(tensor) * 1.01
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype("float32"), tensor.name))
    onnx.save(proto, tmp_path / "wrong.onnx")
    assert run(["verify", str(tmp_path / "wrong.onnx")]) == EXIT_VERIFICATION
    assert "FAILED" in capsys.readouterr().out
    assert run(["verify", "--json", str(tmp_path / "wrong.onnx")]) == EXIT_VERIFICATION
    assert json.loads(capsys.readouterr().out)["passed"] is False


def test_a_fixed_bound_replaces_the_rule(exported: Path) -> None:
    assert run(["verify", "-q", "--rtol", "1e-3", "--atol", "1e-5", str(exported)]) == EXIT_OK
    assert run(["verify", "-q", "--atol", "1e-12", str(exported)]) == EXIT_VERIFICATION


def test_inspect_shows_any_file(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(exported)]) == EXIT_OK
    assert "Conv 33" in capsys.readouterr().out
    assert run(["inspect", "--json", str(exported)]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["recipe"]["architecture"] == "test_nfnet"


def test_list_marks_weight_standardisation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "nf_re"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("w nf_resnet50 ") and "ra2_in1k" in line for line in lines)
    assert run(["list", "test_resnet"]) == EXIT_OK
    assert capsys.readouterr().out.startswith("  test_resnet ")


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["nfnet_f00"], "no architecture 'nfnet_f00'", "did you mean"),
        (["nfnet_l0.nope"], "no weights 'nope' for nfnet_l0", "nfnet_l0.ra2_in1k"),
        (["nfnet_f0", "--pretrained"], "publishes no weights for nfnet_f0", "dm_nfnet_f0.dm_in1k"),
        (["test_nfnet", "--opset", "8"], "opset 8 is outside 9..", "--opset"),
        (["test_nfnet", "--opset", "99"], "opset 99 is outside 9..", "--opset"),
        (["test_nfnet", "--opset", "new"], "'new' is not a valid integer", "--help"),
        (["test_nfnet", "--batch", "0"], "'0' is not a size", "--batch"),
        (["test_nfnet", "--batch", "many"], "'many' is not a size", "dynamic"),
        (["test_nfnet", "--image-size", "big"], "'big' is not a size", "HxW"),
        (["test_vit", "--image-size", "30"], "does not accept images of 30×30", "--image-size 160"),
        (["test_nfnet", "--checkpoint", "none.pth"], "there is no file 'none.pth'", "--checkpoint"),
        (["test_nfnet", "--input-name", "output"], "both named 'output'", "--input-name"),
        (["test_nfnet", "--num-classes", "-3"], "-3 is not in the range x>=0", "--num-classes"),
        (["test_nfnet", "-o", "nowhere/m.onnx"], "the folder 'nowhere' does not exist", "-o"),
        (["test_nfnet", "--frobnicate"], "No such option", "--help"),
        (["list", "xyzzy"], "no architecture like 'xyzzy'", "shorter"),
        (["export"], "neither a model nor a recipe is named", "--recipe"),
        (["verify", "none.onnx"], "none.onnx", ""),
        (["inspect", "none.onnx"], "none.onnx", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_sentence_and_leave_nothing_behind(
    arguments: list[str],
    problem: str,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == EXIT_INPUT
    said = sentence(capsys)
    assert problem in said
    assert fix in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04not onnx", b"<html></html>", os.urandom(2000)],
    ids=["empty", "bytes", "html", "random"],
)
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_file_that_is_not_onnx(
    command: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    assert run([command, str(path)]) == EXIT_INPUT
    assert "file.onnx" in sentence(capsys)


def test_a_truncated_onnx_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.read_bytes()[:100_000])
    assert run(["verify", str(path)]) == EXIT_INPUT
    assert "cut.onnx" in sentence(capsys)


def test_an_onnx_file_without_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '<ir_version: 6, opset_import: ["" : 11]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "bare.onnx")
    assert run(["verify", str(tmp_path / "bare.onnx")]) == EXIT_INPUT
    assert "has no recipe" in sentence(capsys)
    assert run(["inspect", str(tmp_path / "bare.onnx")]) == EXIT_OK


def test_a_hub_out_of_reach_exits_with_3(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "nfexport", "nfnet_l0.ra2_in1k"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == EXIT_MISSING
    assert done.stderr.count("\n") == 1
    assert "--checkpoint FILE, or the bare name 'nfnet_l0' for seeded weights" in done.stderr
    assert not list(tmp_path.glob("*.onnx"))


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test_nfnet", "-o", str(tmp_path)]) == EXIT_INPUT
    assert "is a folder" in sentence(capsys)


def test_help_lists_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == EXIT_OK
    out = capsys.readouterr().out
    for word in ("export", "verify", "inspect", "list", "Exit codes", "verification failed"):
        assert word in out


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM while the file is being verified: the partial file goes too."""
    import signal
    import time

    process = subprocess.Popen(
        [sys.executable, "-m", "nfexport", "test_nfnet", "-q", "-o", str(tmp_path / "m.onnx")],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in err
    assert list(tmp_path.iterdir()) == []

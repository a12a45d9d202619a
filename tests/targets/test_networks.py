"""Weight standardisation as timm traces it, and as nfexport writes it; the flag that a finding names does help."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path

import onnx
import pytest

from nfexport import export
from nfexport.cli import run
from nfexport.sources.timm.torchvision_operators import import_timm
from nfexport.targets import check, targets


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folded") / "test_nfnet.onnx"
    export("test_nfnet", path, opset=11, fold_ws=True, verify=False)
    return path


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unfolded") / "test_nfnet.onnx"
    export("test_nfnet", path, opset=11, verify=False)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One convolution of timm's as TorchScript writes it without nfexport: BatchNormalization on the weight."""
    import torch

    layers = import_timm().layers
    path = tmp_path_factory.mktemp("foreign") / "std.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            layers.ScaledStdConv2d(3, 4, 3).eval(),
            (torch.zeros(1, 3, 8, 8),),
            str(path),
            opset_version=11,
            dynamo=False,
        )
    return path


def test_folded_test_nfnet_at_opset_11_is_supported_by_all_targets(folded: Path) -> None:
    result = check(folded)
    assert [entry.target for entry in result.targets] == list(targets())
    assert len(result.targets) == 4
    assert result.passed
    assert all(found.node is None and found.effect == "caution" for found in result.findings)


def test_unfolded_it_is_made_of_separate_calls_that_all_support_too(unfolded: Path) -> None:
    assert not [node for node in onnx.load(unfolded).graph.node if node.op_type == "BatchNormalization"]
    assert check(unfolded, attempt=False).passed


def test_a_file_of_nfexport_is_told_the_flag_of_the_export(folded: Path) -> None:
    fixes = {found.fix for found in check(folded, ["migraphx"]).findings}
    assert fixes == {
        f"add --batch 1 to 'nfexport test_nfnet', or run 'nfexport surgery {folded} -o OUT.onnx --batch 1'"
    }


def test_training_form_on_a_weight_is_mended_by_the_command_that_is_named(foreign: Path, tmp_path: Path) -> None:
    (normalisation,) = [node for node in onnx.load(foreign).graph.node if node.op_type == "BatchNormalization"]
    result = check(foreign, ["migraphx", "tensorrt"])
    assert not result.passed
    assert [(found.target, found.node, found.operator) for found in result.findings] == [
        ("migraphx", normalisation.name, "BatchNormalization"),
        ("tensorrt", normalisation.name, "BatchNormalization"),
    ]
    fix = result.findings[0].fix
    command = re.fullmatch(r"run 'nfexport (surgery .* --fold-ws)'", fix)
    assert command is not None, fix
    out = tmp_path / "out.onnx"
    assert run([*shlex.split(command[1].replace("OUT.onnx", str(out))), "-q"]) == 0
    assert check(out).findings == ()


def test_the_command_line(foreign: Path, folded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(foreign), "--target", "tensorrt"]) == 1
    out = capsys.readouterr().out
    assert "tensorrt (TensorRT 10.1 to 10.15): not supported" in out
    assert "BatchNormalization): it normalises with the statistics of its input" in out
    assert f"nfexport surgery {foreign} -o OUT.onnx --fold-ws" in out
    assert run(["check", str(foreign), "--target", "onnxruntime", "--target", "openvino"]) == 0
    assert "caution" in capsys.readouterr().out
    assert run(["check", str(folded), "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["check", str(foreign), "--target", "migraphx", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["targets"][0]["findings"][0]
    assert found["effect"] == "wrong"
    assert set(found) == {"target", "node", "operator", "problem", "fix", "effect"}
    assert run(["check", str(foreign), "--target", "abacus"]) == 2
    assert "there is no target 'abacus'" in capsys.readouterr().err
    assert run(["check", "gone.onnx"]) == 2


def test_verbose_gives_the_source_and_why_a_target_was_not_tried(
    folded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(folded), "-v", "--no-try"]) == 0
    out = capsys.readouterr().out
    assert out.count("table after https://") == 4
    assert out.count("not tried: --no-try") == 4

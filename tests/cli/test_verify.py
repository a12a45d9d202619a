"""`nfexport verify` from the outside: runtimes, providers, JUnit XML, files without a recipe, and wrong files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_MISSING, EXIT_OK, EXIT_VERIFICATION
from nfexport.recipe.metadata import DIGEST_KEY, RECIPE_KEY

SIZE = 96


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "m.onnx"
    nfexport.export("test_nfnet", path, fold_ws=True, image_size=SIZE, verify=False)
    return path


def changed(path: Path, target: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, target)
    return target


def without_recipe(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def first_weight(model: onnx.ModelProto, change: Callable[[np.ndarray], np.ndarray]) -> None:
    (tensor,) = (entry for entry in model.graph.initializer if entry.name == "stem.conv1.weight")
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))


@pytest.fixture(scope="module")
def bare(exported: Path) -> Path:
    return changed(exported, exported.with_name("bare.onnx"), without_recipe)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.slow
def test_several_runtimes_each_give_a_report(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", str(exported), "--runtime", "reference", "--runtime", "onnxruntime"]
    assert run([*arguments, "--json"]) == EXIT_OK
    result = json.loads(capsys.readouterr().out)
    assert [report["runtime"] for report in result["verifications"]] == ["reference", "onnxruntime"]
    assert result["verification"] == result["verifications"][0]
    assert result["verifications"][1]["providers"] == ["CPUExecutionProvider"]
    assert run(arguments) == EXIT_OK
    shown = capsys.readouterr().out
    assert shown.count("agrees with PyTorch") == 2


@pytest.mark.slow
def test_pytorch_computes_each_batch_once_for_all_runtimes(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nfexport.verification import torch_reference as reference

    original = reference.evaluate
    calls: list[int] = []

    def counting(*arguments: Any, **keywords: Any) -> reference.Reference:
        calls.append(arguments[1].exact.shape[0])
        return original(*arguments, **keywords)

    monkeypatch.setattr(reference, "evaluate", counting)
    result = nfexport.verify(exported, runtimes=["onnxruntime", "reference", "onnxruntime"])
    assert calls == [3, 1, 2, 3]
    assert [report.runtime for report in result.reports] == ["onnxruntime", "reference"]
    assert result.report is result.reports[0]


def test_one_runtime_that_differs_fails_the_file(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nfexport.runtimes.reference import ReferenceSession

    original = ReferenceSession.run
    monkeypatch.setattr(
        ReferenceSession, "run", lambda self, feeds: {k: v * 1.01 for k, v in original(self, feeds).items()}
    )
    arguments = ["verify", str(exported), "--json", "--runtime", "onnxruntime", "--runtime", "reference"]
    assert run(arguments) == EXIT_VERIFICATION
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    assert [report["passed"] for report in result["verifications"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["--runtime", "tract"], "no runtime 'tract'", "onnxruntime, opencv, openvino, reference"),
        (["--provider", "abacus"], "no execution provider 'abacus' here", "CPUExecutionProvider"),
        (["--provider", "cpu", "--runtime", "reference"], "--provider is for ONNX Runtime alone", "--runtime onnx"),
        (["--junit", "nowhere/j.xml"], "the folder 'nowhere' does not exist", "another file with --junit"),
        (["--model", "test_nfnet"], "has a recipe, which says that it is test_nfnet", "leave --model out"),
        (["--mean", "0,0,0"], "--mean is for a file without a recipe", "--model"),
        (["--weights-seed", "0"], "--weights-seed is for a file without a recipe", "--model"),
    ],
)
def test_bad_usage_is_one_sentence(
    arguments: list[str], problem: str, fix: str, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(exported), *arguments]) == EXIT_INPUT
    err = complaint(capsys)
    assert problem in err
    assert fix in err


def test_a_runtime_that_is_not_installed_exits_with_3(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run(["verify", str(exported), "--runtime", "openvino"]) == EXIT_MISSING
    assert "pip install 'nfexport[openvino]'" in complaint(capsys)


def test_junit_xml_is_written_whether_the_file_passes_or_not(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "junit.xml"
    assert run(["verify", "-q", str(exported), "--junit", str(target), "--provider", "cpu"]) == EXIT_OK
    root = ElementTree.parse(target).getroot()
    assert (root.get("tests"), root.get("failures")) == ("8", "0")
    arguments = ["verify", "-q", str(exported), "--junit", str(target), "--atol", "1e-12", "--assert-no-op", "Conv"]
    assert run(arguments) == EXIT_VERIFICATION
    root = ElementTree.parse(target).getroot()
    assert (root.get("tests"), root.get("failures")) == ("9", "9")
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_nan_in_a_weight_fails_with_1(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(array: np.ndarray) -> np.ndarray:
        array[0, 0, 0, 0] = np.nan
        return array

    wrong = changed(exported, tmp_path / "nan.onnx", lambda model: first_weight(model, spoil))
    # however loose the bound
    for options in ([], ["--rtol", "1e30", "--atol", "1e30"]):
        assert run(["verify", str(wrong), *options]) == EXIT_VERIFICATION
        shown = " ".join(capsys.readouterr().out.split())
        assert "values are not finite" in shown
        assert "FAILED" in shown


def test_infinity_in_the_last_bias_fails_with_1(exported: Path, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        (tensor,) = (entry for entry in model.graph.initializer if entry.name == "head.fc.bias")
        array = numpy_helper.to_array(tensor).copy()
        array[0] = np.inf
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    wrong = changed(exported, tmp_path / "inf.onnx", spoil)
    assert run(["verify", "-q", str(wrong)]) == EXIT_VERIFICATION


def test_a_file_without_a_recipe_is_offered_both_ways_on(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(bare)]) == EXIT_INPUT
    err = complaint(capsys)
    assert "has no recipe" in err
    assert "--model NAME" in err
    assert f"nfexport golden check '{bare}' --golden DIR" in err


def test_a_file_without_a_recipe_is_compared_with_the_model_that_is_named(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(bare), "--model", "test_nfnet", "--json"]) == EXIT_OK
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == "test_nfnet"
    assert result["recipe_sha256"] is None
    assert result["disagreements"] == []
    assert run(["verify", "-q", str(bare), "--model", "test_nfnet", "--weights-seed", "1"]) == EXIT_VERIFICATION
    wrong = changed(bare, tmp_path / "wrong.onnx", lambda model: first_weight(model, lambda array: array * 1.003))
    assert run(["verify", "-q", str(wrong), "--model", "test_nfnet"]) == EXIT_VERIFICATION


def test_a_recipe_that_was_changed_or_is_newer_is_one_sentence(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(key: str, old: str, new: str) -> Callable[[onnx.ModelProto], None]:
        def change(model: onnx.ModelProto) -> None:
            (entry,) = (entry for entry in model.metadata_props if entry.key == key)
            assert old in entry.value
            entry.value = entry.value.replace(old, new)

        return change

    recipe = nfexport.inspect(exported).recipe
    assert recipe is not None
    digest = recipe.digest
    for change, words in (
        (edit(RECIPE_KEY, '"seed":0', '"seed":1'), "was changed after the export; export the model again"),
        (edit(DIGEST_KEY, digest[:8], "00000000"), "was changed after the export; export the model again"),
        (edit(RECIPE_KEY, '"format":3', '"format":99'), "has format 99, this nfexport reads 3; update nfexport"),
        (edit(RECIPE_KEY, '"opset"', '"opsets"'), "object contains unknown field `opsets`"),
        (edit(RECIPE_KEY, "{", "("), "the recipe is not JSON"),
    ):
        wrong = changed(exported, tmp_path / "wrong.onnx", change)
        assert run(["verify", str(wrong)]) == EXIT_INPUT
        assert words in complaint(capsys)

"""`verify --strict` builds the graph again from the recipe: right files are proven, others fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from msgspec.structs import replace

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_OK, EXIT_VERIFICATION
from nfexport.recipe.metadata import write_recipe
from nfexport.workflows.structural_proof import prove_structure
from tests import own_modules
from tests.verification.structure import graph_edits

FAST: dict[str, Any] = {"exporter": "torchscript", "opset": 17, "verify": False}

EXPORTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "half": {"precision": "fp16"},
    "everything": {
        "optimize": True,
        "normalize": "fold",
        "input_dtype": "uint8",
        "outputs": ("probs", "topk"),
        "external_data": True,
    },
    "any size": {"dynamic_size": True},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proof") / "m.onnx"
    nfexport.export("test_resnet", path, **FAST)
    return path


@pytest.mark.parametrize("options", EXPORTS.values(), ids=EXPORTS)
def test_a_right_file_is_proven(tmp_path: Path, options: dict[str, Any]) -> None:
    nfexport.export("test_resnet", tmp_path / "m.onnx", **FAST, **options)
    check = prove_structure(tmp_path / "m.onnx")
    assert check.proven, check.summary()
    assert check.nodes > 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "test_nfnet", "test_convnext", "test_efficientnet"])
def test_a_right_file_of_dynamo_is_proven(tmp_path: Path, name: str) -> None:
    nfexport.export(name, tmp_path / "m.onnx", exporter="dynamo", opset=18, verify=False)
    assert prove_structure(tmp_path / "m.onnx").proven


def test_what_was_done_to_the_finished_file_is_repeated(tmp_path: Path) -> None:
    nfexport.export("test_nfnet", tmp_path / "a.onnx", fold_ws=True, image_size=96, **FAST)
    nfexport.surgery(tmp_path / "a.onnx", tmp_path / "b.onnx", outputs=("probs",), verify=False)
    assert prove_structure(tmp_path / "b.onnx").proven
    nfexport.quantize(tmp_path / "b.onnx", tmp_path / "c.onnx", calibrate=3)
    assert prove_structure(tmp_path / "c.onnx").proven


def test_an_int8_file_of_an_optimised_export_is_proven(tmp_path: Path) -> None:
    """The gates are not merged there, although no option of the user says so."""
    int8 = nfexport.Int8(calibrate=3)
    nfexport.export("test_nfnet", tmp_path / "m.onnx", optimize=True, image_size=96, quantize=int8, **FAST)
    check = prove_structure(tmp_path / "m.onnx")
    assert check.proven, check.summary()


def test_a_module_of_the_user_is_proven_once_named(tmp_path: Path) -> None:
    factory = f"{own_modules.__file__}:two_inputs"
    inputs = ("image=float32[batch,3,height:32,width:40]", "meta=float32[batch,5]")
    nfexport.export(factory, tmp_path / "m.onnx", inputs=inputs, fold_ws=True, **FAST)
    assert run(["verify", str(tmp_path / "m.onnx"), "--strict", "-q"]) == EXIT_INPUT
    assert run(["verify", str(tmp_path / "m.onnx"), "--model", factory, "--strict", "-q"]) == EXIT_OK


def test_an_ir_of_openvino_is_proven_by_its_bytes(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    nfexport.export("test_resnet", tmp_path / "m.onnx", to="openvino", ir_precision="fp16", **FAST)
    assert nfexport.verify(tmp_path / "m.xml", strict=True).passed
    weights = bytearray((tmp_path / "m.bin").read_bytes())
    weights[40] ^= 1
    (tmp_path / "m.bin").write_bytes(weights)
    result = nfexport.verify(tmp_path / "m.xml", strict=True)
    assert result.structure is not None
    assert result.structure.differences == ("'m.bin' is not what OpenVINO's IR of the rebuilt ONNX file is",)
    assert not result.passed


def test_the_report_says_what_was_only_sampled(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(exported), "--json"]) == EXIT_OK
    structure = json.loads(capsys.readouterr().out)["structure"]
    assert structure["proven"] is None
    assert structure["differences"] == []
    assert run(["verify", str(exported), "--json", "--strict"]) == EXIT_OK
    structure = json.loads(capsys.readouterr().out)["structure"]
    assert structure["proven"] is True
    assert structure["summary"] == "proven, 38 nodes and 32 tensors equal those that the recipe gives"


def test_what_no_image_reaches_fails(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(exported)
    graph_edits.far_clip(model)
    onnx.save(model, tmp_path / "m.onnx")
    assert run(["verify", str(tmp_path / "m.onnx"), "-q"]) == EXIT_OK
    assert run(["verify", str(tmp_path / "m.onnx"), "--strict", "--json"]) == EXIT_VERIFICATION
    found = json.loads(capsys.readouterr().out)
    assert found["verification"]["passed"]
    assert found["structure"]["proven"] is False
    assert "Clip instead of Relu" in found["structure"]["differences"][0]


def test_other_versions_are_named_as_a_cause_and_are_no_excuse(exported: Path, tmp_path: Path) -> None:
    recipe = nfexport.inspect(exported).recipe
    assert recipe is not None
    model = onnx.load(exported)
    old = replace(recipe, versions={**recipe.versions, "torch": "2.4.0"})
    onnx.helper.set_model_props(model, write_recipe(old))
    onnx.save(model, tmp_path / "right.onnx")
    assert prove_structure(tmp_path / "right.onnx").proven
    graph_edits.far_clip(model)
    onnx.save(model, tmp_path / "wrong.onnx")
    check = prove_structure(tmp_path / "wrong.onnx")
    assert check.failed
    assert check.differences[-1].startswith("the cause may be a version: version of torch: the file was written with")


def test_a_recipe_that_is_not_its_own_result_fails(exported: Path, tmp_path: Path) -> None:
    recipe = nfexport.inspect(exported).recipe
    assert recipe is not None
    model = onnx.load(exported)
    onnx.helper.set_model_props(model, write_recipe(replace(recipe, labels="imagenet-22k")))
    onnx.save(model, tmp_path / "m.onnx")
    (difference,) = prove_structure(tmp_path / "m.onnx").differences
    assert difference.startswith("recipe: 'labels' is 'imagenet-22k'")


def test_a_file_without_a_recipe_cannot_be_proven(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    assert run(["verify", str(tmp_path / "m.onnx"), "--model", "test_resnet", "--strict"]) == EXIT_INPUT
    assert "has no recipe, so its graph cannot be built again" in capsys.readouterr().err

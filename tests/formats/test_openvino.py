"""OpenVINO's form of a file is written next to it, carries its recipe, and is held to the model as it is."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfexport
from nfexport.errors import InputError, OnnxFileError, RecipeError, VerificationFailed
from nfexport.formats import openvino
from nfexport.inspection import openvino_ir
from nfexport.passes.recorded import read_recipe


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> nfexport.ExportResult:
    folder = tmp_path_factory.mktemp("ir")
    return nfexport.export("test_nfnet", folder / "net.onnx", opset=11, fold_ws=True, to="openvino")


def test_graph_and_weights_are_stored_next_to_the_file(exported: nfexport.ExportResult) -> None:
    ir = exported.converted
    assert ir is not None
    assert sorted(path.name for path in exported.path.parent.iterdir()) == ["net.bin", "net.onnx", "net.xml"]
    assert ir.size == sum(path.stat().st_size for path in ir.files)
    assert ir.verification is not None
    assert ir.verification.passed
    assert ir.verification.runtime == "openvino"
    assert read_recipe(openvino_ir.read_metadata(ir.path)) == exported.recipe


def test_the_same_command_writes_the_same_bytes(exported: nfexport.ExportResult, tmp_path: Path) -> None:
    again = nfexport.export("test_nfnet", tmp_path / "net.onnx", opset=11, fold_ws=True, to="openvino", verify=False)
    for suffix in (".xml", ".bin"):
        assert again.path.with_suffix(suffix).read_bytes() == exported.path.with_suffix(suffix).read_bytes()


def test_verify_reads_the_recipe_of_an_ir(exported: nfexport.ExportResult) -> None:
    result = nfexport.verify(exported.path.with_suffix(".xml"))
    assert result.passed
    assert result.reports[0].runtime == "openvino"
    assert result.model_name == "test_nfnet"


def test_a_changed_weight_in_the_ir_is_noticed(exported: nfexport.ExportResult, tmp_path: Path) -> None:
    for suffix in (".xml", ".bin"):
        (tmp_path / f"net{suffix}").write_bytes(exported.path.with_suffix(suffix).read_bytes())
    weights = np.fromfile(tmp_path / "net.bin", np.uint8)
    layer = ElementTree.parse(tmp_path / "net.xml").find("layers/layer[@name='stem.conv1.weight']/data")
    assert layer is not None
    start, size = int(layer.get("offset", "")), int(layer.get("size", ""))
    values = weights[start : start + size].view(np.float32)
    values[: values.size // 16] *= 1.01  # one filter of sixteen, off by a hundredth
    weights.tofile(tmp_path / "net.bin")
    assert not nfexport.verify(tmp_path / "net.xml").passed


def test_half_precision_halves_the_weights_and_is_judged_as_float16(
    exported: nfexport.ExportResult, tmp_path: Path
) -> None:
    result = nfexport.export(
        "test_nfnet", tmp_path / "half.onnx", opset=11, fold_ws=True, to="openvino", ir_precision="fp16"
    )
    half = tmp_path / "half.xml"
    assert openvino_ir.weights_precision(half) == "fp16"
    assert openvino_ir.weights_precision(exported.path.with_suffix(".xml")) == "fp32"
    assert half.with_suffix(".bin").stat().st_size < 0.51 * exported.path.with_suffix(".bin").stat().st_size
    assert result.converted is not None
    assert result.converted.verification is not None
    assert "float16" in result.converted.verification.summary()
    assert nfexport.verify(half).passed


def test_nothing_is_left_if_the_ir_does_not_equal_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = openvino.convert

    def wrong(onnx_file: Path, folder: Path, name: str, **options: Any) -> Path:
        written = convert(onnx_file, folder, name, **options)
        weights = np.fromfile(written.with_suffix(".bin"), np.uint8)
        weights[: weights.size // 4 * 4].view(np.float32)[10_000:] *= 1.01
        weights.tofile(written.with_suffix(".bin"))
        return written

    monkeypatch.setattr(openvino, "convert", wrong)
    with pytest.raises(VerificationFailed, match="OpenVINO's IR of the file does not equal test_nfnet"):
        nfexport.export("test_nfnet", tmp_path / "net.onnx", opset=11, fold_ws=True, to="openvino")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_ir_is_refused_in_one_sentence(tmp_path: Path, exported: nfexport.ExportResult) -> None:
    lone = tmp_path / "net.xml"
    lone.write_bytes(exported.path.with_suffix(".xml").read_bytes())
    with pytest.raises(OnnxFileError, match=r"the weights of '.*net\.xml' are not next to it"):
        nfexport.verify(lone)
    (tmp_path / "page.xml").write_text("<html/>")
    with pytest.raises(OnnxFileError, match="is not an IR of OpenVINO: it holds <html>"):
        nfexport.verify(tmp_path / "page.xml")
    with pytest.raises(OnnxFileError, match=r"as OpenVINO writes the graph of its IR; name the \.onnx file"):
        nfexport.inspect(exported.path.with_suffix(".xml"))
    with pytest.raises(InputError, match="is OpenVINO's IR, which runs in openvino only"):
        nfexport.verify(exported.path.with_suffix(".xml"), bisect=True)
    with pytest.raises(RecipeError, match="which was not asked for; add --to openvino"):
        nfexport.export("test_nfnet", tmp_path / "x.onnx", ir_precision="fp16")

"""What users of int8 rely on: the written file, the layers that stay in float, the refusals."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import nfexport
from nfexport.errors import ImageError, InputError, OnnxFileError, PassError, RecipeError
from tests.quantization.conftest import NETWORK

FIRST, LAST = "/stem/conv1/Conv", "/head/fc/Gemm"


def weight_types(path: Path) -> dict[str, int]:
    """The element type of each layer's weight, behind its DequantizeLinear if it has one."""
    graph = onnx.load(path).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    behind = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return {
        node.name: stored[behind.get(node.input[1], node.input[1])]
        for node in graph.node
        if node.op_type in ("Conv", "Gemm")
    }


def test_the_first_the_last_and_the_worst_layer_stay_in_float(quantised: nfexport.QuantizeResult) -> None:
    types = weight_types(quantised.path)
    noisiest = max(quantised.noise, key=lambda name: quantised.noise[name])
    assert {name for name, dtype in types.items() if dtype == onnx.TensorProto.FLOAT} == {FIRST, LAST, noisiest}
    assert set(types.values()) == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT8}
    assert set(quantised.kept) == {FIRST, LAST, noisiest}
    assert (quantised.products, quantised.int8_products) == (34, 31)
    assert quantised.facts.total_size < 0.6 * quantised.size_before


def test_weights_have_a_scale_for_each_channel(quantised: nfexport.QuantizeResult) -> None:
    graph = onnx.load(quantised.path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    scales = Counter(
        (list(stored[node.input[1]].dims) == [stored[node.input[0]].dims[0]])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in stored
        and stored[node.input[0]].data_type == onnx.TensorProto.INT8
    )
    assert scales == {True: quantised.int8_products}


def test_the_recipe_says_how_it_was_made(quantised: nfexport.QuantizeResult) -> None:
    recipe = nfexport.inspect(quantised.path).recipe
    assert recipe is not None
    (step,) = recipe.surgery
    assert step.name == "quantize"
    assert step.params["form"] == "int8"
    assert step.params["calibration"] == {"source": "seeded", "images": 9, "seed": 0}
    assert set(step.params["kept"]) == set(quantised.kept)
    assert step.params["error"] == pytest.approx(quantised.on_seeded.rms_max, rel=0.01)  # written with three digits
    assert step.params["bound"] == quantised.bound


def test_the_same_command_writes_the_same_bytes(
    quantised: nfexport.QuantizeResult, plain: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    again = nfexport.quantize(plain, tmp_path / "again.onnx", calibrate=9, keep_worst=1)
    assert again.path.read_bytes() == quantised.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
    assert capfd.readouterr() == ("", "")


def test_an_export_writes_what_quantising_the_float_file_writes(
    quantised: nfexport.QuantizeResult, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    result = nfexport.export("test_nfnet", path, quantize=nfexport.Int8(calibrate=9, keep_worst=1), **NETWORK)
    assert path.read_bytes() == quantised.path.read_bytes()
    assert result.verification is not None
    assert result.verification.passed
    assert result.quantization is not None
    assert result.quantization.bound == quantised.bound
    assert result.recipe == quantised.recipe


def test_a_folder_of_images_and_names_of_layers(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    dice = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(dice.integers(0, 256, (80, 90, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    result = nfexport.quantize(plain, tmp_path / "a.onnx", calibrate=folder, keep_float=["/stages.3*"])
    in_float = {name for name, dtype in weight_types(result.path).items() if dtype == onnx.TensorProto.FLOAT}
    assert in_float == {FIRST, LAST, *(name for name in weight_types(plain) if name.startswith("/stages.3"))}
    assert result.on_calibration.images == 3
    assert result.calibration.images == 3
    before = result.calibration.sha256
    Image.fromarray(dice.integers(0, 256, (80, 90, 3), dtype=np.uint8)).save(folder / "1.png")
    assert nfexport.quantize(plain, tmp_path / "b.onnx", calibrate=folder).calibration.sha256 != before


def test_what_is_refused(quantised: nfexport.QuantizeResult, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    unfolded, old, half = (tmp_path / f"{name}.onnx" for name in ("unfolded", "old", "half"))
    nfexport.export("test_nfnet", unfolded, verify=False, **(NETWORK | {"fold_ws": False}))
    with pytest.raises(PassError, match=r"25 convolutions of .* compute their weight.*; export with --fold-ws"):
        nfexport.quantize(unfolded, out, calibrate=1)
    nfexport.surgery(plain, old, opset=11, verify=False)
    with pytest.raises(
        RecipeError, match=r"needs opset 13 or later, not 11; convert it: nfexport surgery .* --opset 13"
    ):
        nfexport.quantize(old, out, calibrate=1)
    nfexport.surgery(plain, half, precision="fp16", verify=False)
    with pytest.raises(RecipeError, match="is fp16 already; start from the float32 file"):
        nfexport.quantize(half, out, calibrate=1)
    with pytest.raises(RecipeError, match="is int8 already"):
        nfexport.quantize(quantised.path, out, calibrate=1)
    with pytest.raises(
        InputError, match=r"no Conv, Gemm or MatMul named '/stem/conv9'; pass a name such as /stem/conv"
    ):
        nfexport.quantize(plain, out, calibrate=1, keep_float=["/stem/conv9"])
    with pytest.raises(RecipeError, match="none of the 34 layers is left to quantise"):
        nfexport.quantize(plain, out, calibrate=1, keep_float=["*"])
    with pytest.raises(ImageError, match="there is no file or folder 'nowhere'"):
        nfexport.quantize(plain, out, calibrate="nowhere")
    with pytest.raises(InputError, match="the number of calibration images must be at least 1, not 0"):
        nfexport.quantize(plain, out, calibrate=0)
    foreign = onnx.load(plain)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(OnnxFileError, match="has no recipe, so its preprocessing is unknown"):
        nfexport.quantize(tmp_path / "foreign.onnx", out, calibrate=1)
    with pytest.raises(PassError, match=r"the file is int8, .* do it to the float file, and quantise the result"):
        nfexport.surgery(quantised.path, out, strip=True)
    with pytest.raises(RecipeError, match="needs opset 13 or later, not 11; pass --opset 13"):
        nfexport.export("test_nfnet", out, opset=11, quantize=nfexport.Int8(calibrate=1))
    with pytest.raises(RecipeError, match="cannot be both int8 and fp16"):
        nfexport.export("test_nfnet", out, precision="fp16", quantize=nfexport.Int8(calibrate=1))
    with pytest.raises(PassError, match=r"of '.*out.onnx' compute their weight"):
        nfexport.export("test_nfnet", out, image_size=64, quantize=nfexport.Int8(calibrate=1))
    assert not out.exists()

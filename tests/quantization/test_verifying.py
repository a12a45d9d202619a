"""An int8 file passes as it was written, and not with a fault in it, however small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import numpy_helper
from PIL import Image

import nfexport
from nfexport.errors import InputError
from nfexport.quantization.identity import graph_digest
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.recipe import PassStep
from nfexport.verification.weight_check import check_weights


def test_it_passes_on_other_images_too(quantised: nfexport.QuantizeResult) -> None:
    for seed in (0, 1):
        result = nfexport.verify(quantised.path, seed=seed)
        assert result.passed
        assert result.report.weights is not None
        assert result.report.weights.compared > quantised.int8_products  # int8 weights, and biases kept in float
        assert "as measured when it was quantised" in result.report.tolerance
        assert result.report.caution() is not None


def damage(path: Path, target: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, target)
    return target


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto = next(entry for entry in model.graph.initializer if entry.name == name)
    return found


def scaled(name: str, factor: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        stored = tensor(model, name)
        stored.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(stored) * np.float32(factor)), name))

    return change


def one_weight_more(model: onnx.ModelProto) -> None:
    stored = tensor(model, "stages.1.0.conv2.weight_quantized")
    array = numpy_helper.to_array(stored).copy()
    array.flat[5] += 1 if array.flat[5] < 100 else -1
    stored.CopyFrom(numpy_helper.from_array(array, stored.name))


def another_padding(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.name == "/stages.1.0/conv2/Conv")
    next(entry for entry in node.attribute if entry.name == "pads").ints[:] = [2, 1, 0, 1]


FAULTS = {
    "a weight one step off": one_weight_more,
    "a scale 0.1 % off": scaled("stages.1.0.conv2.weight_scale", 1.001),
    "an activation's scale 1 % off": scaled("/stages.1.0/conv2/Conv_output_0_scale", 1.01),
    "a float weight 0.1 % off": scaled("stem.conv1.weight", 1.001),
    "another padding": another_padding,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_fails(fault: str, quantised: nfexport.QuantizeResult, tmp_path: Path) -> None:
    result = nfexport.verify(damage(quantised.path, tmp_path / "bad.onnx", FAULTS[fault]))
    assert not result.passed
    assert any("a node or a number has changed since the file was quantised" in text for text in result.disagreements)


def test_the_weights_are_compared_with_the_model_itself(quantised: nfexport.QuantizeResult) -> None:
    """Without the digest's help: a scale that is off by more than half a step at its largest weight shows."""
    import torch

    from nfexport import sources

    loaded = sources.load_from_recipe(quantised.recipe)
    module: torch.nn.Module = loaded.module
    model = onnx.load(quantised.path)

    def example() -> tuple[torch.Tensor]:
        return (torch.zeros(1, 3, *loaded.image_size),)

    right = check_weights(module, model.SerializeToString(), example)
    assert right.passed
    scaled("stages.1.0.conv2.weight_scale", 1.01)(model)
    wrong = check_weights(module, model.SerializeToString(), example)
    assert list(wrong.differing) == ["stages.1.0.conv2.weight_quantized"]


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (1000.0, False)])
def test_a_larger_error_than_was_measured_fails(
    factor: float, passes: bool, quantised: nfexport.QuantizeResult, tmp_path: Path
) -> None:
    """By the outputs alone: the recipe is given the digest of the damaged graph."""
    model = onnx.load(quantised.path)
    scaled("/final_conv/Conv_output_0_scale", factor)(model)
    (operation,) = quantised.recipe.operations
    (step,) = operation.steps
    forged = PassStep(name=step.name, params={**step.params, "graph_sha256": graph_digest(model)})
    onnx.helper.set_model_props(
        model, write_recipe(replace(quantised.recipe, operations=(replace(operation, steps=(forged,)),)))
    )
    onnx.save(model, tmp_path / "bad.onnx")
    result = nfexport.verify(tmp_path / "bad.onnx")
    assert result.disagreements == ()
    assert result.report.cases_passed == passes


def test_it_cannot_be_looked_into(quantised: nfexport.QuantizeResult) -> None:
    with pytest.raises(InputError, match="is int8: every tensor is off by its rounding"):
        nfexport.verify(quantised.path, bisect=True)


def test_the_digest_does_not_hang_on_how_the_file_is_stored(
    quantised: nfexport.QuantizeResult, tmp_path: Path
) -> None:
    model = onnx.load(quantised.path)
    reordered = onnx.ModelProto()
    reordered.CopyFrom(model)
    initializers = sorted(model.graph.initializer, key=lambda entry: entry.name, reverse=True)
    del reordered.graph.initializer[:]
    reordered.graph.initializer.extend(initializers)
    onnx.save(reordered, tmp_path / "apart.onnx", save_as_external_data=True, size_threshold=64)
    assert graph_digest(onnx.load(tmp_path / "apart.onnx")) == graph_digest(model)


def test_calibration_on_black_images_fails_however_wide_its_bound(plain: Path, tmp_path: Path) -> None:
    black = tmp_path / "black"
    black.mkdir()
    for number in range(2):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(black / f"{number}.png")
    made = nfexport.quantize(plain, tmp_path / "int8.onnx", calibrate=black)
    assert made.bound > 0.5
    result = nfexport.verify(tmp_path / "int8.onnx")
    assert not result.passed
    assert "within 0.5 of the output's standard deviation" in result.report.tolerance


def test_a_file_that_returns_zeros_fails_whatever_bound_it_claims(
    quantised: nfexport.QuantizeResult, tmp_path: Path
) -> None:
    model = onnx.load(quantised.path)
    node = model.graph.node[-1]
    node.output[0] = "exact"
    zero = numpy_helper.from_array(np.zeros((), np.float32), "nothing")
    model.graph.initializer.append(zero)
    name = model.graph.output[0].name
    model.graph.node.append(onnx.helper.make_node("Mul", ["exact", "nothing"], [name], "zeros"))
    (operation,) = quantised.recipe.operations
    (step,) = operation.steps
    forged = PassStep(name=step.name, params={**step.params, "bound": 10.0, "graph_sha256": graph_digest(model)})
    onnx.helper.set_model_props(
        model, write_recipe(replace(quantised.recipe, operations=(replace(operation, steps=(forged,)),)))
    )
    onnx.save(model, tmp_path / "bad.onnx")
    result = nfexport.verify(tmp_path / "bad.onnx")
    assert result.disagreements == ()
    assert not result.report.cases_passed

"""The weights of a file, compared with the model's by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper

import nfexport
from nfexport.passes.rewrites import multiply_gates
from nfexport.passes.rewrites.multiply_gates import MultiplyGates
from nfexport.sources import ModelSpec, load
from nfexport.verification.faults import inject
from nfexport.verification.faults.standardisation_faults import refolded
from nfexport.verification.tolerance import FixedTolerance
from nfexport.verification.weight_check import check_weights


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("weights") / "m.onnx"
    nfexport.export("test_nfnet", path, opset=11, fold_ws=True, image_size=96, verify=False)
    return onnx.load(path)


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    return load(ModelSpec(name="test_nfnet", image_size=96)).module


def test_every_weight_of_a_folded_file_is_the_models(model: onnx.ModelProto, module: torch.nn.Module) -> None:
    check = check_weights(module, model.SerializeToString())
    assert check is not None
    assert check.passed
    named = {tensor.name for tensor in model.graph.initializer} & set(module.state_dict())
    assert check.compared == len(named) > 60


def test_a_filter_that_no_image_reaches_is_noticed(model: onnx.ModelProto, module: torch.nn.Module) -> None:
    """Behind this Relu one filter is silent on all images of the verification: the outputs show nothing."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = [t for t in copy.graph.initializer if t.name == "stages.3.0.attn_last.fc1.weight"]
    array = numpy_helper.to_array(tensor).copy()
    array[len(array) // 2] *= 0.5
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    check = check_weights(module, copy.SerializeToString())
    assert check is not None
    assert list(check.differing) == ["stages.3.0.attn_last.fc1.weight"]
    assert "1 of 68 weights are not the model's: 'stages.3.0.attn_last.fc1.weight'" in check.summary()


def test_a_weight_whose_axes_of_one_are_gone_is_compared(
    model: onnx.ModelProto, module: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiply_gates, "LARGE", 1)
    graph = ir.from_proto(model)
    changed = MultiplyGates().apply(graph).changed
    written = ir.to_proto(graph)
    check = check_weights(module, written.SerializeToString())
    assert changed > 4
    assert check is not None
    assert check.passed
    assert check.compared == 68
    (tensor,) = [t for t in written.graph.initializer if t.name == "stages.3.0.attn_last.fc1.weight"]
    array = numpy_helper.to_array(tensor)
    assert array.ndim == 2
    tensor.CopyFrom(numpy_helper.from_array(array[::-1].copy(), tensor.name))
    check = check_weights(module, written.SerializeToString())
    assert check is not None
    assert list(check.differing) == ["stages.3.0.attn_last.fc1.weight"]


def test_every_wrong_formula_of_weight_standardisation_is_noticed(
    model: onnx.ModelProto, module: torch.nn.Module
) -> None:
    raw = {
        f"{name}.weight": (layer.weight.detach().numpy(), layer.eps)
        for name, layer in module.named_modules()
        if hasattr(layer, "gain") and hasattr(layer, "eps")
    }
    faults = list(refolded(model, raw))
    assert len(faults) == 6 * len(raw)
    for fault in faults[::7]:
        check = check_weights(module, inject(model, fault).SerializeToString())
        assert check is not None, fault.kind
        assert not check.passed, fault.kind


def test_the_verification_fails_for_a_weight_alone(
    tmp_path: Path, module: torch.nn.Module, model: onnx.ModelProto
) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = [t for t in copy.graph.initializer if t.name == "stages.3.0.attn_last.fc1.bias"]
    array = numpy_helper.to_array(tensor).copy()
    array[np.argmin(array)] *= 1 + 1e-5
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(copy, tmp_path / "m.onnx")
    result = nfexport.verify(tmp_path / "m.onnx")
    assert result.report.cases_passed
    assert not result.passed
    assert "but 1 of 68 weights are not the model's" in result.report.summary()
    assert nfexport.verify(tmp_path / "m.onnx", tolerance=FixedTolerance(rtol=0.0, atol=1e-3)).passed


def test_a_network_with_batch_normalisation_is_left_alone(tmp_path: Path) -> None:
    """Folding it changes the weights of the convolutions, rightly."""
    nfexport.export("test_efficientnet", tmp_path / "m.onnx", verify=False)
    module = load(ModelSpec(name="test_efficientnet")).module
    assert check_weights(module, tmp_path / "m.onnx") is None

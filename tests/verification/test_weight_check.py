"""Every number that a file stores is accounted for, and a change to any of them is noticed and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

import nfexport
from nfexport.inspection import inspect
from nfexport.passes.rewrites import multiply_gates
from nfexport.passes.rewrites.multiply_gates import MultiplyGates
from nfexport.sources import ModelSpec, load, load_from_recipe
from nfexport.sources.model import heads
from nfexport.verification.faults import inject
from nfexport.verification.faults.standardisation_faults import refolded
from nfexport.verification.model_under_test import ImageModelUnderTest
from nfexport.verification.tolerance import FixedTolerance
from nfexport.verification.verifier import example_of
from nfexport.verification.weight_check import WeightCheck, check_weights
from nfexport.workflows.subjects import subject_of_recipe

Array = NDArray[Any]
GATE = "stages.3.0.attn_last.fc1.weight"


def check(model: onnx.ModelProto, path: Path) -> WeightCheck:
    """Account for the numbers of a model that was exported to a path, perhaps changed since."""
    recipe = inspect(path).recipe
    assert recipe is not None
    loaded = load_from_recipe(recipe)
    subject = subject_of_recipe(recipe, loaded)
    assert isinstance(subject, ImageModelUnderTest)
    assert subject.weights_explained
    with heads.giving(loaded.module, subject.outputs, loaded.call):
        return check_weights(
            loaded.module,
            model.SerializeToString(),
            lambda: example_of(subject, 0),
            factors_moved=subject.factors_moved,
            front=subject.form,
        )


def changed(model: onnx.ModelProto, name: str, change: Callable[[Array], Array]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = [tensor for tensor in copy.graph.initializer if tensor.name == name]
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(array.copy()).astype(array.dtype), name))
    return copy


def layer_weight(model: onnx.ModelProto, operators: tuple[str, ...] = ("Conv", "Gemm")) -> str:
    """Return the name of the weight of the middle one of these layers."""
    stored = {tensor.name for tensor in model.graph.initializer}
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    read = [node.input[1] for node in model.graph.node if node.op_type in operators]
    names = [name for name in (casts.get(name, name) for name in read) if name in stored]
    return str(names[len(names) // 2])


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "BatchNormalization folded": ("test_resnet", {}),
    "weights standardised": ("test_nfnet", {"fold_ws": True}),
    "not folded": ("test_nfnet", {}),
    "factors moved": ("test_nfnet", {"fold_ws": True, "fold_scales": True}),
    "groups merged": ("test_nfnet", {"optimize": True}),
    "normalised in the first layer": ("test_efficientnet", {"normalize": "fold", "channels": "bgr"}),
    "float16": ("test_resnet", {"precision": "fp16"}),
    "float16 and factors": ("test_nfnet", {"optimize": True, "precision": "fp16"}),
    "float16 weights": ("test_vit", {"precision": "fp16-weights"}),
    "layer scale": ("test_convnext", {"optimize": True}),
    "branches": ("test_byobnet", {}),
}


@pytest.fixture(scope="module", params=list(KINDS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, options = KINDS[request.param]
    path = tmp_path_factory.mktemp("kinds") / "m.onnx"
    keywords: dict[str, Any] = {"exporter": "torchscript", "opset": 17, "verify": False} | options
    nfexport.export(name, path, **keywords)
    return path


def test_a_right_file_is_accounted_for_entirely(exported: Path) -> None:
    model = onnx.load(exported)
    found = check(model, exported)
    assert (found.differing, found.unexplained) == ({}, {})
    assert found.accounted == found.compared > 20
    assert found.numbers > 200_000


def halve_a_filter(array: Array) -> Array:
    array[len(array) // 2] *= 0.5
    return array


def move_one_number(array: Array) -> Array:
    array.flat[array.size // 2] += 1e-4 * np.abs(array).max()
    return array


def move_one_half(array: Array) -> Array:
    """Move the largest number by two units in the last place of float16."""
    at = np.abs(array).argmax()
    array.flat[at] = array.flat[at] * (1 + 2.0**-9)
    return array


def test_a_filter_and_a_single_number_are_noticed(exported: Path) -> None:
    model = onnx.load(exported)
    name = layer_weight(model, ("Conv", "Gemm", "MatMul"))
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    half = tensor.data_type == onnx.TensorProto.FLOAT16
    for change in (halve_a_filter, move_one_half if half else move_one_number):
        found = check(changed(model, name, change), exported)
        assert list(found.differing) == [name], change
        assert not found.passed
        assert f"'{name}'" in found.summary()


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "m.onnx"
    keywords: dict[str, Any] = {"exporter": "torchscript", "opset": 17, "image_size": 96}
    keywords |= {"verify": False, "outputs": ["topk"]}
    nfexport.export("test_resnet", path, **keywords)
    return path


def test_classes_in_another_order_are_noticed_under_topk(resnet: Path) -> None:
    """Of 1,000 classes the images show some dozens."""
    model = onnx.load(resnet)
    found = check(changed(model, "fc.weight", lambda array: array[[*range(1, len(array)), 0]]), resnet)
    assert list(found.differing) == ["fc.weight"]

    def swap(array: Array) -> Array:
        array[[600, 601]] = array[[601, 600]]
        return array

    found = check(changed(model, "fc.bias", swap), resnet)
    assert list(found.differing) == ["fc.bias"]
    assert found.wrong == {"fc.bias": 2}


def test_names_do_not_count(resnet: Path) -> None:
    """A tensor may have any name, but not other numbers."""
    model = onnx.load(resnet)
    old = layer_weight(model, ("Conv",))
    for tensor in model.graph.initializer:
        if tensor.name == old:
            tensor.name = "other"
    for node in model.graph.node:
        node.input[:] = ["other" if name == old else name for name in node.input]
    assert check(model, resnet).passed
    found = check(changed(model, "other", halve_a_filter), resnet)
    assert list(found.differing) == ["other"]
    noise = np.random.default_rng(0)
    found = check(changed(model, "other", lambda array: 0.1 * noise.standard_normal(array.shape)), resnet)
    assert list(found.differing) == ["other"]


def test_the_verification_fails_for_a_silent_filter(resnet: Path, tmp_path: Path) -> None:
    model = onnx.load(resnet)
    onnx.save(
        changed(model, "fc.bias", lambda array: np.where(array == array.min(), array * (1 + 1e-4), array)),
        tmp_path / "m.onnx",
    )
    result = nfexport.verify(tmp_path / "m.onnx")
    assert result.report.cases_passed
    assert not result.passed
    assert "but 1 of 32 stored tensors is not the model's: 'fc.bias' (1 numbers" in result.report.summary()
    assert result.report.to_dict()["weights"]["unaccounted"] == ["fc.bias"]
    assert nfexport.verify(tmp_path / "m.onnx", tolerance=FixedTolerance(rtol=0.0, atol=1e-3)).passed


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "m.onnx"
    nfexport.export("test_nfnet", path, opset=11, fold_ws=True, image_size=96, verify=False)
    return path


def test_a_weight_whose_axes_of_one_are_gone_is_compared(folded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiply_gates, "LARGE", 1)
    graph = ir.from_proto(onnx.load(folded))
    assert MultiplyGates().apply(graph).changed > 4
    written = ir.to_proto(graph)
    found = check(written, folded)
    assert (found.differing, found.unexplained) == ({}, {})
    found = check(changed(written, GATE, lambda array: array[::-1]), folded)
    assert list(found.differing) == [GATE]


def test_every_wrong_formula_of_weight_standardisation_is_noticed(folded: Path) -> None:
    model = onnx.load(folded)
    module: torch.nn.Module = load(ModelSpec(name="test_nfnet", image_size=96)).module
    raw = {
        f"{name}.weight": (layer.weight.detach().numpy(), layer.eps)
        for name, layer in module.named_modules()
        if hasattr(layer, "gain") and hasattr(layer, "eps")
    }
    faults = list(refolded(model, raw))
    assert len(faults) == 6 * len(raw)
    for fault in faults[::7]:
        assert not check(inject(model, fault), folded).passed, fault.kind


def test_the_summary_counts_what_was_found() -> None:
    found = WeightCheck(compared=41, differing={}, as_parameters=30, as_folds=11, numbers=11_600_000)
    assert found.summary() == "41 of 41 stored tensors accounted for (11.6 M numbers): 30 as stored, 11 as folds"
    assert found.caution() is None
    some = WeightCheck(compared=2, differing={}, as_parameters=1, unexplained={"w": 500}, numbers=1000)
    assert some.passed
    assert "1 of 2 stored tensors (500 numbers) are not explained" in str(some.caution())


class Pooled(torch.nn.Module):
    """A convolution and an average pooling over one value, added up, as in EfficientFormer's queries."""

    def __init__(self, kernel: int, padding: int) -> None:
        super().__init__()
        self.local = torch.nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.pool = torch.nn.AvgPool2d(kernel, 2, padding)
        self.norm = torch.nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(self.local(x) + self.pool(x))
        return result


@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 1)])
def test_an_average_pooling_next_to_a_convolution_is_a_convolution(tmp_path: Path, kernel: int, padding: int) -> None:
    torch.manual_seed(0)
    result = nfexport.export(
        Pooled(kernel, padding).eval(),
        tmp_path / "pooled.onnx",
        inputs=["x=float32[batch,4,16,16]"],
        opset=17,
        exporter="torchscript",
    )
    assert result.facts.operator_counts == {"Conv": 1}
    assert result.verification is not None
    assert result.verification.weights is not None
    assert result.verification.weights.as_folds == 2
    assert not result.verification.weights.unexplained


class Multiplying(torch.nn.Module):
    """Multiplies by its parameters itself, one of them a batch of tables, rather than through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.square = torch.nn.Parameter(torch.randn(12, 12))
        self.tables = torch.nn.Parameter(torch.randn(2, 12, 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.relu(x @ self.square)[:, None] @ self.tables).sum(1)


def test_parameters_that_a_module_multiplies_by_itself_are_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"inputs": ["x=float32[batch,5,12]"], "opset": 17, "exporter": "torchscript"}
    result = nfexport.export(Multiplying().eval(), tmp_path / "multiplying.onnx", **options)
    assert result.verification is not None
    weights = result.verification.weights
    assert weights is not None
    assert weights.as_parameters == weights.compared == 2

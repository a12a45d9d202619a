"""The first node at fault is the one with the fault, or reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import nfexport
from nfexport.passes.rewrites import multiply_gates
from nfexport.recipe.recipe import Output
from nfexport.runtimes import open_session
from nfexport.sources import ModelSpec, load
from nfexport.verification.diagnosis.bisection import Bisection, bisect, steps_of
from nfexport.verification.faults import Fault, all_faults, at_fault, inject
from nfexport.verification.input_cases import default_cases
from nfexport.verification.model_under_test import ImageModelUnderTest

NETWORKS = {
    "test_nfnet": {"opset": 11, "fold_ws": True},
    "test_vit": {"opset": 17},
    "test_convnext": {"opset": 11},
}


class Exported:
    """A network, its file, and a bisection of what is made of it."""

    def __init__(self, name: str, path: Path, **options: Any) -> None:
        size = None if "vit" in name else 96
        nfexport.export(name, path, image_size=size, verify=False, **options)
        self.model = onnx.load(path)
        loaded = load(ModelSpec(name=name, image_size=size))
        self.under_test = ImageModelUnderTest(
            input_name="input",
            outputs=(Output(kind="logits", name="output"),),
            batch="dynamic",
            image_size=loaded.image_size,
            in_channels=3,
            preprocessing=loaded.preprocessing,
            factors_moved=bool(options.get("fold_scales")),
        )
        case = default_cases(
            seed=0,
            batch="dynamic",
            in_channels=3,
            image_size=loaded.image_size,
            preprocessing=loaded.preprocessing,
        )[0]
        self.array = case.array
        self.steps = steps_of(loaded.module, [self.array], self.under_test)

    def differs(self, model: onnx.ModelProto) -> bool:
        """Say whether the outputs of a file are not those of the right one."""
        files = (file.SerializeToString() for file in (model, self.model))
        one, other = (open_session(file).run({"input": self.array})["output"] for file in files)
        return not np.array_equal(one, other)

    def bisect(self, model: onnx.ModelProto) -> Bisection:
        return bisect(model, [self.array], self.under_test, self.steps)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    known: dict[str, Exported] = {}

    def get(name: str) -> Exported:
        if name not in known:
            known[name] = Exported(name, tmp_path_factory.mktemp(name) / "m.onnx", **NETWORKS[name])
        return known[name]

    return get


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "test_convnext" else name for name in NETWORKS]
)
def test_every_tensor_of_a_right_file_is_a_step_of_the_model(name: str, exported: Callable[[str], Exported]) -> None:
    network = exported(name)
    found = network.bisect(network.model)
    assert found.culprit is None
    assert found.count("same") == len(found.tensors) > 40
    assert "and none of the others is at fault" in found.summary()


def test_factors_that_were_moved_leave_multiples(tmp_path: Path) -> None:
    network = Exported("test_nfnet", tmp_path / "m.onnx", opset=11, fold_ws=True, fold_scales=True)
    found = network.bisect(network.model)
    assert found.culprit is None
    assert found.count("scaled") > 5
    assert found.count("differs") == 0


def test_weights_that_are_computed_are_followed_too(tmp_path: Path) -> None:
    network = Exported("test_nfnet", tmp_path / "m.onnx", opset=17)
    assert network.bisect(network.model).count("same") > 400
    (fault,) = [f for f in all_faults(network.model) if f.kind == "eps 100 times as large"][3:4]
    found = network.bisect(inject(network.model, fault))
    assert found.culprit is not None
    assert found.culprit.node == fault.node
    assert found.culprit.operator == "Add"


def test_gates_that_are_products_are_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiply_gates, "LARGE", 1)
    network = Exported("test_nfnet", tmp_path / "m.onnx", opset=11, fold_ws=True, multiply_gates=True)
    found = network.bisect(network.model)
    assert found.count("same") == len(found.tensors)
    products = [node for node in network.model.graph.node if node.op_type == "MatMul"]
    assert len(products) > 4
    for node in products[2:5]:
        mutant = onnx.ModelProto()
        mutant.CopyFrom(network.model)
        (weight,) = [tensor for tensor in mutant.graph.initializer if tensor.name == node.input[0]]
        weight.CopyFrom(onnx.numpy_helper.from_array(1.05 * onnx.numpy_helper.to_array(weight), weight.name))
        culprit = network.bisect(mutant).culprit
        assert culprit is not None
        assert culprit.node == node.name


@pytest.mark.parametrize(
    "name", [name if name == "test_nfnet" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_each_kind_of_fault_is_located(name: str, exported: Callable[[str], Exported]) -> None:
    """One place of each kind; `make mutations` tries all of them on larger networks."""
    network = exported(name)
    by_kind: dict[str, list[Fault]] = {}
    for fault in all_faults(network.model):
        by_kind.setdefault(fault.kind, []).append(fault)
    assert len(by_kind) >= 15
    wrong = []
    for kind, faults in by_kind.items():
        fault = faults[len(faults) // 2]
        mutant = inject(network.model, fault)
        if not network.differs(mutant):
            continue  # such as a padding that is counted where there is none
        culprit = network.bisect(mutant).culprit
        if culprit is None or culprit.node not in at_fault(mutant, fault):
            wrong.append((kind, fault.node, None if culprit is None else culprit.node))
    assert wrong == []


def test_a_shift_is_recognised(exported: Callable[[str], Exported]) -> None:
    network = exported("test_nfnet")
    faults = [f for f in all_faults(network.model) if f.kind == "padding shifted right by one"]
    (fault,) = [fault for fault in faults if fault.node == "/stem/conv3/Conv"]  # of stride 1
    found = network.bisect(inject(network.model, fault))
    assert found.culprit is not None
    assert found.culprit.module == "stem.conv3"
    assert "shifted right by one pixel" in found.hints[0]

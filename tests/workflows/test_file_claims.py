"""Where the outside of a file, and what it stores, contradict its recipe, verify says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import helper, numpy_helper

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.recipe import PassStep, Recipe
from nfexport.workflows.file_claims import disagreements
from tests.verification.structure import graph_edits

FAST: dict[str, Any] = {"exporter": "torchscript", "opset": 17, "verify": False}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("claims") / "m.onnx"
    nfexport.export("test_resnet", path, **FAST)
    return path


def recipe_of(path: Path) -> Recipe:
    recipe = nfexport.inspect(path).recipe
    assert recipe is not None
    return recipe


def found(path: Path) -> tuple[str, ...]:
    return disagreements(nfexport.inspect(path), recipe_of(path))


def newer_ir(model: onnx.ModelProto) -> None:
    model.ir_version += 1


def other_classes(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 999


def half_output(model: onnx.ModelProto) -> None:
    node = model.graph.node[-1]
    node.output[0] = "exact"
    model.graph.node.append(helper.make_node("Cast", ["exact"], [model.graph.output[0].name], "cast", to=10))
    model.graph.output[0].type.tensor_type.elem_type = 10


def vendors_operator(model: onnx.ModelProto) -> None:
    node = model.graph.node[-1]
    node.output[0] = "exact"
    name = model.graph.output[0].name
    model.graph.node.append(helper.make_node("QuickGelu", ["exact"], [name], "gelu", domain="com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def unsorted_nodes(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[1], nodes[0], *nodes[2:]])


def bad_value_info(model: onnx.ModelProto) -> None:
    model.graph.value_info[3].type.tensor_type.shape.dim[1].dim_value = 12345


def half_weights(model: onnx.ModelProto) -> None:
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 4)
    name, array = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(array, f"{name} in half"))
    model.graph.node.insert(0, helper.make_node("Cast", [f"{name} in half"], [name], "cast", to=1))


WRONG: dict[Callable[[onnx.ModelProto], None], str] = {
    newer_ir: "IR version: the recipe says 8, the file has 9",
    graph_edits.newer_opset: "opset: the recipe says 17, the file has 18",
    graph_edits.other_dim: "input shape: the recipe says ['batch', 3, 160, 160], the file has [1, 3, 160, 160]",
    other_classes: "shape of output 'output': the recipe says ['batch', 1000], the file has ['batch', 999]",
    half_output: "type of output 'output': the recipe says float32, the file has float16",
    vendors_operator: "operator domains: the recipe says [], the file has ['com.microsoft']",
    graph_edits.own_function: "function: the recipe says none, the file has 'own::Twice'",
    unsorted_nodes: "onnx's checker refuses the file (Nodes in a graph must be topologically sorted",
    bad_value_info: "onnx's checker refuses the file (",
    half_weights: "precision: the recipe says float32, and the file stores 432 numbers in float16",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_a_contradiction_is_named(exported: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(exported)
    change(model)
    onnx.save(model, tmp_path / "m.onnx")
    texts = found(tmp_path / "m.onnx")
    assert any(text.startswith(WRONG[change]) for text in texts), texts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "fp16"},
        {"precision": "fp16-weights", "external_data": True},
        {"normalize": "fold", "input_dtype": "uint8", "input_layout": "nhwc", "outputs": ("probs", "topk")},
        {"outputs": ("features", "embedding", "logits"), "batch": 2, "num_classes": 7},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
def test_a_right_file_contradicts_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    nfexport.export("test_resnet", tmp_path / "m.onnx", **FAST, **options)
    assert found(tmp_path / "m.onnx") == ()


@pytest.mark.parametrize("form", ["fp16", "fp16-weights"])
def test_a_precision_that_is_claimed_alone_fails(exported: Path, tmp_path: Path, form: str) -> None:
    """The tolerance of float16 would hide an error of a thousandth."""
    recipe = recipe_of(exported)
    step = PassStep(name="precision", params={"form": form})
    model = onnx.load(exported)
    onnx.helper.set_model_props(model, write_recipe(replace(recipe, passes=(*recipe.passes, step))))
    onnx.save(model, tmp_path / "m.onnx")
    assert any(text.startswith(f"precision: the recipe says {form}, and") for text in found(tmp_path / "m.onnx"))


def test_a_contradiction_fails_on_the_command_line(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(exported), "-q"]) == EXIT_OK
    model = onnx.load(exported)
    unsorted_nodes(model)
    onnx.save(model, tmp_path / "m.onnx")
    assert run(["verify", str(tmp_path / "m.onnx")]) == EXIT_VERIFICATION
    assert "disagrees" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_left_alone(exported: Path) -> None:
    before = sorted(exported.parent.iterdir())
    exported.parent.chmod(0o500)
    try:
        assert found(exported) == ()
    finally:
        exported.parent.chmod(0o700)
    assert sorted(exported.parent.iterdir()) == before

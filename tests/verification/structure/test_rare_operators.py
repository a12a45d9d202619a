"""Operators that act on rare values are counted, those that act at random are named, and constants are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
from nfexport.verification.structure.rare_operators import RareOperators, random_nodes, rare_operators
from tests.verification.structure import graph_edits
from tests.verification.structure.graph_edits import Edit

FAST: dict[str, Any] = {"exporter": "torchscript", "opset": 17, "verify": False}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rare") / "m.onnx"
    nfexport.export("test_resnet", path, **FAST)
    return path


def edited(exported: Path, target: Path, edit: Edit) -> Path:
    model = onnx.load(exported)
    edit(model)
    onnx.save(model, target)
    return target


def test_a_plain_network_has_none(exported: Path) -> None:
    assert rare_operators(exported) == RareOperators(random={}, training={}, rare={})


def standardised_weight(model: onnx.ModelProto) -> None:
    """Normalise a weight, as weight standardisation is written."""
    reader = next(node for node in model.graph.node if node.op_type == "Conv")
    tensor = next(one for one in model.graph.initializer if one.name == reader.input[1])
    names = [graph_edits.add_tensor(model, name, [1.0] * tensor.dims[1]) for name in ("s", "b", "m", "v")]
    outputs = ["standard", "mean", "var"]
    node = helper.make_node("BatchNormalization", [tensor.name, *names], outputs, "bn", training_mode=1)
    model.graph.node.insert(0, node)
    reader.input[1] = "standard"


def test_what_is_computed_from_constants_is_left_out(exported: Path, tmp_path: Path) -> None:
    file = edited(exported, tmp_path / "m.onnx", standardised_weight)
    assert nfexport.inspect(file).training_batch_norms == 1
    assert rare_operators(file) == RareOperators(random={}, training={}, rare={})


@pytest.mark.parametrize(
    ("edit", "rare"),
    [
        (graph_edits.trigger, {"Greater": 1, "Where": 1}),
        (graph_edits.far_clip, {"Clip": 1}),
        (graph_edits.large_batch, {"Greater": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_operators_that_decide_by_a_value_are_counted(
    exported: Path, tmp_path: Path, edit: Edit, rare: dict[str, int]
) -> None:
    assert rare_operators(edited(exported, tmp_path / "m.onnx", edit)).rare == rare


def training_batch_norm(model: onnx.ModelProto) -> None:
    """Normalise activations by their batch."""
    reader = graph_edits.find(model, "Relu")
    channels = next(one.dims[0] for one in model.graph.initializer if len(one.dims) == 4)
    names = [graph_edits.add_tensor(model, name, [1.0] * channels) for name in ("s", "b", "m", "v")]
    node = helper.make_node(
        "BatchNormalization", [reader.input[0], *names], ["normal", "mean", "var"], "bn", training_mode=1
    )
    place = list(model.graph.node).index(reader)
    model.graph.node.insert(place, node)
    model.graph.node[place + 1].input[0] = "normal"


def silent_dropout(model: onnx.ModelProto) -> None:
    """A Dropout that drops nothing."""
    reader = graph_edits.find(model, "Relu")
    inputs = [reader.input[0], graph_edits.add_tensor(model, "ratio", 0.5)]
    graph_edits.insert_before(model, reader, [helper.make_node("Dropout", inputs, ["kept"], "dropout")])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (graph_edits.dropout, "node 'dropout' (Dropout in training form) computes at random"),
        (graph_edits.tiny_noise, "node 'noise' (RandomNormalLike) computes at random"),
        (training_batch_norm, "node 'bn' (BatchNormalization in training form) normalises by the batch"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_no_network_in_evaluation_mode_has_fails(exported: Path, tmp_path: Path, edit: Edit, said: str) -> None:
    found = rare_operators(edited(exported, tmp_path / "m.onnx", edit))
    (sentence,) = random_nodes(found, by_batch=False)
    assert sentence.startswith(said)
    assert len(list(random_nodes(found, by_batch=True))) == (edit is not training_batch_norm)


def test_a_dropout_that_drops_nothing_is_none(exported: Path, tmp_path: Path) -> None:
    assert not rare_operators(edited(exported, tmp_path / "m.onnx", silent_dropout)).random


def test_noise_that_no_rounding_shows_fails_and_names_the_node(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = edited(exported, tmp_path / "m.onnx", graph_edits.tiny_noise)
    assert run(["verify", str(noisy), "--json"]) == EXIT_VERIFICATION
    found = json.loads(capsys.readouterr().out)
    assert found["verification"]["passed"]
    assert found["disagreements"] == [
        "node 'noise' (RandomNormalLike) computes at random, and a network in evaluation mode does not"
    ]


def test_rare_operators_are_told_where_the_structure_was_sampled(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clipped = edited(exported, tmp_path / "m.onnx", graph_edits.far_clip)
    assert run(["verify", str(clipped), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["structure"]["summary"] == (
        "sampled, not proven, and it holds 1 Clip, which may act on rare values alone; "
        "--strict compares the graph with a rebuilt one"
    )

"""One rule recognises a node, whether onnx_ir or protobuf holds it."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
import pytest

from nfexport.graph import recognisers


def both(op_type: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> list[Any]:
    """Return a node as protobuf has it, and as onnx_ir has it."""
    proto = onnx.helper.make_node(op_type, inputs, outputs, domain=domain, **attributes)
    return [proto, ir.from_proto(proto)]


@pytest.mark.parametrize(
    ("outputs", "attributes", "training"),
    [
        (["y"], {}, False),
        (["y", "", ""], {}, False),
        (["y"], {"training_mode": 0}, False),
        (["y"], {"training_mode": 1}, True),
        (["y", "m", "v", "sm", "sv"], {}, True),
    ],
)
def test_the_training_form_of_a_batch_normalization(
    outputs: list[str], attributes: dict[str, Any], training: bool
) -> None:
    for node in both("BatchNormalization", ["x", "s", "b", "m", "v"], outputs, **attributes):
        assert recognisers.is_training_batch_normalization(node) is training
    for node in both("BatchNormalization", ["x"], ["y", "z"], domain="vendor"):
        assert not recognisers.is_training_batch_normalization(node)
    assert not recognisers.is_training_batch_normalization(None)


@pytest.mark.parametrize("operator", sorted(recognisers.RANDOM_OPERATORS))
def test_what_draws_numbers_is_not_deterministic(operator: str) -> None:
    assert onnx.defs.has(operator)
    assert not any(map(recognisers.is_deterministic, both(operator, [], ["y"])))


def test_what_holds_a_graph_or_is_a_vendors_is_not_deterministic() -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    for node in both("If", ["c"], ["y"], then_branch=body, else_branch=body):
        assert recognisers.has_subgraph(node)
        assert not recognisers.is_deterministic(node)
    for node in both("Relu", ["x"], ["y"], domain="vendor"):
        assert not recognisers.is_deterministic(node)
        assert recognisers.operator_name(node) == "vendor::Relu"
    for node in both("Relu", ["x"], ["y"], domain="ai.onnx"):
        assert recognisers.is_deterministic(node)
        assert recognisers.operator_name(node) == "Relu"


def test_a_node_without_a_name_is_called_by_its_output() -> None:
    assert {recognisers.label(node) for node in both("Relu", ["x"], ["y"])} == {"Relu → y"}
    assert {recognisers.label(node) for node in both("Relu", ["x"], ["y"], name="act")} == {"act"}


def test_what_is_computed_from_constants_is_constant() -> None:
    add = onnx.helper.make_node("Add", ["a", "b"], ["y"])
    assert recognisers.computes_constant(add, {"a", "b"}.__contains__)
    assert not recognisers.computes_constant(add, {"a"}.__contains__)
    assert recognisers.computes_constant(onnx.helper.make_node("Constant", [], ["y"]), set().__contains__)
    drawn = onnx.helper.make_node("RandomUniformLike", ["a"], ["y"])
    assert not recognisers.computes_constant(drawn, {"a"}.__contains__)

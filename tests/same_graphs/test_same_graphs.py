"""Every recorded command writes the graph that it wrote; and the digests notice what they are there to notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.same_graphs import record
from tests.same_graphs.commands import COMMANDS
from tests.same_graphs.digest import DIGESTS, differing, digests_of, record_of


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which inputs are made once."""
    return tmp_path_factory.mktemp("inputs")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_the_graph_that_it_wrote(name: str, shared: Path) -> None:
    recorded = record.read()
    differences = record.differences(name, record.found(COMMANDS[name], shared), recorded)
    other = record.other_environment(recorded)
    assert not differences, f"{COMMANDS[name]} writes another graph, by {', '.join(differences)}" + (
        f"; but it was recorded with other versions: {other}" if other else ""
    )


def test_each_command_is_recorded() -> None:
    assert list(record.read()["commands"]) == list(COMMANDS)


def graph() -> onnx.ModelProto:
    """y = W · relu(x) − V · x, and an If behind it that adds a number or not."""
    branches = {
        "then_branch": helper.make_graph(
            [helper.make_node("Add", ["d", "one"], ["then"])],
            "then",
            [],
            [helper.make_tensor_value_info("then", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.array([1], np.float32), "one")],
        ),
        "else_branch": helper.make_graph(
            [helper.make_node("Identity", ["d"], ["else"])],
            "else",
            [],
            [helper.make_tensor_value_info("else", TensorProto.FLOAT, None)],
        ),
    }
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "relu"),
        helper.make_node("Gemm", ["a", "W"], ["b"], "first", alpha=1.0),
        helper.make_node("Gemm", ["x", "V"], ["c"], "second"),
        helper.make_node("Sub", ["b", "c"], ["d"], "difference"),
        helper.make_node("If", ["condition"], ["y"], "if", **branches),
    ]
    stored = [
        numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(2, 2), "W"),
        numpy_helper.from_array(np.ones((2, 2), np.float32), "V"),
    ]
    made = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        stored,
        value_info=[helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 2])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].f = float(np.nextafter(np.float32(1), np.float32(2)))


def _wire(model: onnx.ModelProto) -> None:
    model.graph.node[3].input[:] = ["c", "b"]


def _stored_wire(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[1], model.graph.node[2].input[1] = "V", "W"


def _order(model: onnx.ModelProto) -> None:
    nodes = [model.graph.node[index] for index in (0, 2, 1, 3, 4)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _weight(model: onnx.ModelProto) -> None:
    array = numpy_helper.to_array(model.graph.initializer[0]).copy()
    array[1, 1] = np.nextafter(array[1, 1], np.float32(9))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "W"))


def _weight_of_a_body(model: onnx.ModelProto) -> None:
    body = next(attribute.g for attribute in model.graph.node[4].attribute if attribute.name == "then_branch")
    body.initializer[0].CopyFrom(numpy_helper.from_array(np.array([2], np.float32), "one"))


def _node_of_a_body(model: onnx.ModelProto) -> None:
    body = next(attribute.g for attribute in model.graph.node[4].attribute if attribute.name == "else_branch")
    body.node[0].op_type = "Neg"


def _output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[4].output[0] = "scores"


def _size(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = "n"


def _opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18


def _constant(model: onnx.ModelProto) -> None:
    value = model.graph.initializer.pop(0)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["W"], "constant", value=value))


def _name(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = model.graph.value_info[0].name = "hidden"


def _stored_name(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].name = model.graph.node[2].input[1] = "weight"


def _inner_size(model: onnx.ModelProto) -> None:
    model.graph.value_info[0].type.tensor_type.shape.dim[1].dim_value = 3


def _doc_string(model: onnx.ModelProto) -> None:
    model.graph.node[0].doc_string = "cuts off what is negative"


CHANGES: dict[Callable[[onnx.ModelProto], None], set[str]] = {
    _attribute: {"wiring"},
    _wire: {"wiring", "names"},
    # the other weight is met first: as numbers it is another order
    _stored_wire: {"initializers", "names"},
    _order: {"wiring", "initializers", "names"},
    _weight: {"initializers"},
    _weight_of_a_body: {"initializers"},
    _node_of_a_body: {"wiring"},
    _output: {"interface", "wiring", "names"},
    _size: {"interface"},
    _opset: {"opsets"},
    _constant: {"wiring", "initializers", "names", "annotations"},
    _name: {"names"},
    _stored_name: {"names"},
    _inner_size: {"annotations"},
    _doc_string: {"annotations"},
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_the_digests_notice_a_change_and_say_of_what_kind(change: Callable[[onnx.ModelProto], None]) -> None:
    before, after = digests_of(graph()), graph()
    change(after)
    assert set(differing(before, digests_of(after))) == CHANGES[change]


def test_the_same_graph_has_the_same_digests() -> None:
    assert set(digests_of(graph())) == set(DIGESTS)
    assert digests_of(graph()) == digests_of(graph())


def test_where_the_weights_are_stored_is_a_fact_and_changes_no_digest(tmp_path: Path) -> None:
    onnx.save(graph(), tmp_path / "inside.onnx")
    onnx.save(graph(), tmp_path / "outside.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    inside, outside = (record_of(tmp_path / f"{name}.onnx") for name in ("inside", "outside"))
    assert differing(inside, outside) == ["external_bytes"]
    assert inside["external_bytes"] == 0


def test_a_measured_scale_shows_in_the_calibration_alone_and_a_weight_does_not() -> None:
    def int8(scale: float, weight_scale: float) -> dict[str, str]:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "ws"], ["e"]),
            helper.make_node("MatMul", ["d", "e"], ["y"]),
        ]
        stored = {
            "s": np.float32(scale),
            "z": np.uint8(3),
            "w": np.array([[1, 2], [3, 4]], np.int8),
            "ws": np.float32(weight_scale),
        }
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
        return digests_of(helper.make_model(helper.make_graph(nodes, "int8", values[:1], values[1:], tensors)))

    assert differing(int8(0.5, 0.25), int8(0.75, 0.25)) == ["calibration"]
    assert differing(int8(0.5, 0.25), int8(0.5, 0.75)) == ["initializers"]


def test_a_difference_is_told_by_its_digest() -> None:
    recorded = record.read()
    name, wanted = next(iter(recorded["commands"].items()))
    assert record.differences(name, wanted, recorded) == []
    assert record.differences(name, wanted | {"wiring": "", "names": ""}, recorded) == ["wiring", "names"]
    assert record.differences("unheard of", wanted, recorded) == ["nothing is recorded"]

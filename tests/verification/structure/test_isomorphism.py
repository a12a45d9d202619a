"""Two graphs are equal whatever their names and order; every other change is named."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

import nfexport
from nfexport.verification.structure.isomorphism import compare_graphs
from nfexport.verification.structure.structure_check import StructureCheck
from tests.verification.structure import graph_edits
from tests.verification.structure.graph_edits import Edit


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("structure") / "m.onnx"
    nfexport.export("test_resnet", path, exporter="torchscript", opset=17, verify=False)
    model: onnx.ModelProto = onnx.load(path)
    return model


def compare(file: onnx.ModelProto, wanted: onnx.ModelProto, **options: float) -> StructureCheck:
    return compare_graphs(ir.from_proto(file), ir.from_proto(wanted), **options)


def edited(network: onnx.ModelProto, *edits: Edit) -> onnx.ModelProto:
    copy: onnx.ModelProto = onnx.ModelProto.FromString(network.SerializeToString())
    for edit in edits:
        edit(copy)
    return copy


@pytest.mark.parametrize(
    "edit",
    [graph_edits.rename_everything, graph_edits.move_constants, graph_edits.write_defaults],
    ids=lambda e: e.__name__,
)
def test_another_way_to_write_the_same_graph_is_equal(network: onnx.ModelProto, edit: Edit) -> None:
    right = compare(network, network)
    assert right.proven
    assert compare(edited(network, edit), network) == right
    assert right.nodes == sum(node.op_type != "Constant" for node in network.graph.node)
    assert right.tensors >= len({name for node in network.graph.node for name in node.input if "weight" in name})


WRONG: dict[Edit, tuple[str, ...]] = {
    graph_edits.trigger: ("'trigger_where': Where is more", "2 nodes more: Greater, Mul"),
    graph_edits.far_clip: ("Clip instead of Relu",),
    graph_edits.dropout: ("node 'dropout': Dropout is more",),
    graph_edits.tiny_noise: ("node 'noise_add': Add is more", "1 node more: RandomNormalLike"),
    graph_edits.large_batch: (
        "node 'batch_mixed': Add is more",
        "6 nodes more: Shape, Gather, Greater, Cast, Slice, Mul",
    ),
    graph_edits.change_weight: ("differs at 3 of ", " numbers, by up to 0.1"),
    graph_edits.change_attribute: ("attribute 'alpha' is 1.00001 instead of 1",),
    graph_edits.hide_tensor: ("tensor 'hidden' (9 numbers) is stored, and nothing reads it",),
    graph_edits.hide_node: ("1 node more: Sigmoid",),
    graph_edits.drop_node: ("Relu is missing",),
    graph_edits.swap_operands: ("its two inputs have changed places",),
    graph_edits.other_dim: ("input 0: 'input' FLOAT [1, 3, 160, 160] instead of 'input' FLOAT [batch, 3, 160, 160]",),
    graph_edits.newer_opset: ("opset imports: {'': 18} instead of {'': 17}",),
    graph_edits.own_function: ("function 'own::Twice' is more",),
}


@pytest.mark.parametrize("edit", WRONG, ids=lambda edit: edit.__name__)
def test_every_change_is_named(network: onnx.ModelProto, edit: Edit) -> None:
    found = compare(edited(network, edit), network)
    assert found.failed
    said = "; ".join(found.differences)
    assert [text for text in WRONG[edit] if text not in said] == [], said
    assert len(found.differences) <= 3, said


def test_the_same_change_on_the_other_side_is_named_too(network: onnx.ModelProto) -> None:
    found = compare(network, edited(network, graph_edits.trigger))
    assert "node 'trigger_where': Where is missing" in found.differences
    assert found.differences[-1] == "2 nodes missing: Greater, Mul"


def test_rounding_counts_unless_it_is_allowed(network: onnx.ModelProto) -> None:
    other = edited(network)
    tensor = next(one for one in other.graph.initializer if len(one.dims) == 4)
    array = numpy_helper.to_array(tensor).copy()
    place = np.unravel_index(np.abs(array).argmax(), array.shape)
    array[place] = np.nextafter(array[place], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    assert "differs at 1 of " in compare(other, network).differences[0]
    allowed = compare(other, network, units=4.0)
    assert allowed.proven
    assert allowed.rounded == 1
    assert "(1 of them to a few units in the last place)" in allowed.summary()
    array[place] *= np.float32(1 + 1e-6)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    assert compare(other, network, units=4.0).failed


def test_signs_of_zeros_count() -> None:
    assert "signs of zeros" in compare(adding(-0.0), adding(0.0)).differences[0]


def adding(number: float, branch: str = "Add") -> onnx.ModelProto:
    """Return a graph with a branch in an If, which adds a number to the graph's own input or multiplies by it."""
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    inner = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [2])
    bodies = [helper.make_graph([helper.make_node(op, ["x", "c"], ["z"])], op, [], [inner]) for op in (branch, "Sub")]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "c"], ["is_large"]),
        helper.make_node("If", ["is_large"], ["y"], "choice", then_branch=bodies[0], else_branch=bodies[1]),
    ]
    constant = numpy_helper.from_array(np.asarray(number, np.float32), "c")
    graph = helper.make_graph(nodes, "g", [value], [out], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_bodies_of_nodes_are_compared() -> None:
    assert compare(adding(1.0), adding(1.0)).nodes == 5
    found = compare(adding(1.0, "Mul"), adding(1.0))
    assert any("Mul instead of Add" in text for text in found.differences)


def test_two_outputs_that_change_places_differ() -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    outs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "ab"]
    models = [
        helper.make_model(
            helper.make_graph([helper.make_node(op, ["x"], [name]) for op, name in pairs], "g", [value], outs)
        )
        for pairs in ((("Relu", "a"), ("Sigmoid", "b")), (("Relu", "b"), ("Sigmoid", "a")))
    ]
    assert compare(models[0], models[0]).proven
    assert compare(*models).failed

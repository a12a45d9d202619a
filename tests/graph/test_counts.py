"""What is counted as what."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nfexport.graph import counts
from tests.inspection.files import floats, model, network, node


def test_operators_are_sorted_by_number_then_name() -> None:
    graph = model(
        [
            node("Relu", "image", "a"),
            node("Sigmoid", "a", "b"),
            node("Exp", "b", "c"),
            node("Sigmoid", "c", "d"),
            node("Mystery", "d", "out", domain="com.example"),
        ]
    ).graph
    assert list(counts.operator_counts(graph).items()) == [
        ("Sigmoid", 2),
        ("Exp", 1),
        ("Relu", 1),
        ("com.example::Mystery", 1),
    ]


def test_subgraphs_are_counted() -> None:
    branches = [
        helper.make_graph(
            [node("Conv", "image inner", "y")],
            name,
            [],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [floats("inner", 2, 3, 1, 1)],
        )
        for name in ("then", "else")
    ]
    graph = model(
        [
            node("Constant", "", "yes", value=numpy_helper.from_array(np.array(True))),
            helper.make_node("If", ["yes"], ["out"], then_branch=branches[0], else_branch=branches[1]),
        ]
    ).graph
    assert counts.operator_counts(graph) == {"Conv": 2, "Constant": 1, "If": 1}
    assert counts.counted_parameters(graph) == 12
    assert counts.convolution_weights(graph)["initializer"] == 2


def test_weights_and_biases_of_convolutions_and_classifier_are_counted() -> None:
    assert counts.counted_parameters(network().graph) == 4 * 27 + 4 + 5 * 144 + 5


def test_a_shared_weight_is_counted_once() -> None:
    graph = model([node("Conv", "image w", "x"), node("Conv", "x w", "out")], [floats("w", 3, 3, 1, 1)]).graph
    assert counts.counted_parameters(graph) == 9


def test_other_constants_are_not_counted() -> None:
    graph = model([node("Mul", "image s", "x"), node("Add", "x s", "out")], [floats("s", 3, 1, 1)]).graph
    assert counts.counted_parameters(graph) == 0


def test_a_weight_that_the_graph_computes_is_not_counted() -> None:
    graph = model(
        [node("Abs", "w", "v"), node("Conv", "image v b", "out")], [floats("w", 4, 3, 3, 3), floats("b", 4)]
    )
    assert counts.counted_parameters(graph.graph) == 4


@pytest.mark.parametrize("operands", ["product bias", "bias product"])
def test_a_matrix_product_has_the_bias_that_is_added_to_it(operands: str) -> None:
    graph = model(
        [node("MatMul", "image w", "product"), node("Add", operands, "out")], [floats("w", 8, 5), floats("bias", 5)]
    ).graph
    assert counts.counted_parameters(graph) == 45


def test_a_vector_added_to_something_else_is_no_bias() -> None:
    graph = model(
        [node("MatMul", "image w", "product"), node("Relu", "product", "x"), node("Add", "x shift", "out")],
        [floats("w", 8, 5), floats("shift", 5)],
    ).graph
    assert counts.counted_parameters(graph) == 40


def test_a_product_of_two_activations_has_no_parameters() -> None:
    assert counts.counted_parameters(model([node("MatMul", "image image", "out")]).graph) == 0


def test_convolutions_say_where_their_weight_comes_from() -> None:
    constant = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32))
    graph = model(
        [
            node("Constant", "", "c", value=constant),
            node("Abs", "w", "computed"),
            node("Conv", "image w", "a"),
            node("Conv", "a w", "b"),
            node("Conv", "b c", "d"),
            node("Conv", "d computed", "e"),
            node("ConvTranspose", "e image", "out"),
        ],
        [floats("w", 3, 3, 1, 1)],
    ).graph
    assert counts.convolution_weights(graph) == {"initializer": 2, "constant": 1, "computed": 1, "input": 1}


def test_training_batch_norms_are_told_from_ordinary_ones() -> None:
    scale = [floats("s", 3)]
    ordinary = node("BatchNormalization", "image s s s s", "out")
    old_training = node("BatchNormalization", "image s s s s", "out a b c d")
    new_training = node("BatchNormalization", "image s s s s", "out a b", training_mode=1)
    switched_off = node("BatchNormalization", "image s s s s", "out", training_mode=0)
    assert [
        counts.training_batch_norms(model([each], scale).graph)
        for each in (ordinary, old_training, new_training, switched_off)
    ] == [0, 1, 1, 0]

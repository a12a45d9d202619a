"""The rule 'omz', line by line: each figure is worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nfexport.inspection.cost import count_cost
from tests.inspection.cost.graphs import PICTURE, cost_of, floats, model, node, numbers, only

AN_ELEMENT = {
    "Add": 1,
    "Sub": 1,
    "Mul": 1,
    "Div": 1,
    "Relu": 2,
    "Clip": 2,
    "Sigmoid": 3,
    "Elu": 3,
    "Softplus": 3,
    "HardSwish": 4,
    "HardSigmoid": 4,
    "Softmax": 5,
    "Tanh": 6,
    "LogSoftmax": 6,
    "Mish": 10,
}
FREE = ("Erf", "Gelu", "Abs", "Sqrt", "Neg", "Identity", "ReduceMean", "Transpose", "GlobalAveragePool")


@pytest.mark.parametrize("operator", AN_ELEMENT)
def test_operations_an_element(operator: str) -> None:
    inputs = "image image" if operator in ("Add", "Sub", "Mul", "Div") else "image"
    cost = cost_of([node(operator, inputs, "out")], opset=20)
    assert (cost.flops, cost.macs, cost.activations) == (AN_ELEMENT[operator] * PICTURE, 0, 0)
    assert only(cost).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("operator", FREE)
def test_what_costs_nothing(operator: str) -> None:
    cost = cost_of([node(operator, "image", "out")], opset=20)
    assert (cost.flops, cost.layers, dict(cost.uncounted)) == (0, (), {})


def test_a_convolution_is_two_a_multiplication_and_one_for_the_bias() -> None:
    with_bias = only(cost_of([node("Conv", "image w b", "out")], [floats("w", 4, 3, 3, 3), floats("b", 4)]))
    assert with_bias.shape == (1, 4, 6, 6)
    assert with_bias.macs == 4 * 36 * 27
    assert with_bias.flops == 2 * 4 * 36 * 27 + 4 * 36
    assert (with_bias.activations, with_bias.parameters) == (4 * 36, 4 * 27 + 4)
    without = only(cost_of([node("Conv", "image w", "out")], [floats("w", 4, 3, 3, 3)]))
    assert (without.flops, without.parameters) == (2 * 4 * 36 * 27, 4 * 27)


def test_groups_strides_and_pads() -> None:
    nodes = [node("Conv", "image w", "out", group=3, strides=[2, 2], pads=[1, 1, 1, 1])]
    layer = only(cost_of(nodes, [floats("w", 6, 1, 3, 3)]))
    assert layer.shape == (1, 6, 4, 4)
    assert layer.macs == 6 * 16 * 9


def test_a_transposed_convolution_counts_by_its_input() -> None:
    layer = only(cost_of([node("ConvTranspose", "image w", "out", strides=[2, 2])], [floats("w", 3, 5, 2, 2)]))
    assert layer.shape == (1, 5, 16, 16)
    assert layer.macs == 3 * 64 * 5 * 4
    assert layer.activations == 5 * 256


@pytest.mark.parametrize(("transposed", "dims"), [(0, (192, 7)), (1, (7, 192))])
def test_a_classifier(transposed: int, dims: tuple[int, int]) -> None:
    nodes = [node("Flatten", "image", "x"), node("Gemm", "x w b", "out", transB=transposed)]
    layer = only(cost_of(nodes, [floats("w", *dims), floats("b", 7)]))
    assert (layer.macs, layer.flops, layer.activations) == (192 * 7, 2 * 192 * 7 + 7, 7)
    assert layer.parameters == 192 * 7 + 7


def test_a_matrix_product_and_its_bias_are_two_layers() -> None:
    cost = cost_of([node("MatMul", "image w", "x"), node("Add", "x b", "out")], [floats("w", 8, 5), floats("b", 5)])
    assert [(layer.op, layer.flops, layer.parameters) for layer in cost.layers] == [
        ("MatMul", 2 * 3 * 8 * 5 * 8, 40),
        ("Add", 3 * 8 * 5, 5),
    ]


def test_a_product_of_activations_has_no_parameters() -> None:
    layer = only(cost_of([node("MatMul", "image image", "out")]))
    assert (layer.macs, layer.parameters) == (3 * 8 * 8 * 8, 0)


def test_einsum_multiplies_the_lengths_of_its_letters() -> None:
    cost = cost_of([node("Einsum", "image image", "out", equation="bchw,bcHw->bchH")])
    assert cost.macs == 3 * 8 * 8 * 8


@pytest.mark.parametrize(("operator", "kernel"), [("AveragePool", (2, 3)), ("MaxPool", (3, 3))])
def test_pooling_is_its_kernel_an_element(operator: str, kernel: tuple[int, int]) -> None:
    layer = only(cost_of([node(operator, "image", "out", kernel_shape=kernel)]))
    assert layer.shape == (1, 3, 9 - kernel[0], 9 - kernel[1])
    assert layer.flops == 3 * (9 - kernel[0]) * (9 - kernel[1]) * kernel[0] * kernel[1]


def test_swish_is_five_however_it_is_written() -> None:
    pair = cost_of([node("Sigmoid", "image", "s"), node("Mul", "image s", "out")])
    swapped = cost_of([node("Sigmoid", "image", "s"), node("Mul", "s image", "out")])
    scaled = cost_of(
        [node("Mul", "image c", "x"), node("Sigmoid", "x", "s"), node("Mul", "image s", "out")], [numbers("c", 1.702)]
    )
    assert [(only(cost).op, cost.flops) for cost in (pair, swapped, scaled)] == [("Swish", 5 * PICTURE)] * 3


def test_a_gate_is_no_swish() -> None:
    cost = cost_of([node("Sigmoid", "image", "s"), node("Abs", "image", "x"), node("Mul", "x s", "out")])
    assert cost.flops == (3 + 1) * PICTURE


ERF = [node("Div", "image root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a")]
CUBIC = [
    node("Pow", "image three", "p"),
    node("Mul", "p small", "k"),
    node("Add", "image k", "s"),
    node("Mul", "s root", "d"),
    node("Tanh", "d", "e"),
    node("Add", "e one", "a"),
]
GELU_CONSTANTS = [numbers("root", 2**0.5), numbers("one", 1), numbers("half", 0.5), numbers("three", 3)]
GELU_CONSTANTS += [numbers("small", 0.044715), numbers("gamma", 1.7)]
ENDINGS = {
    "x(1+erf), halved": [node("Mul", "image a", "m"), node("Mul", "m half", "out")],
    "x/2 first": [node("Mul", "image half", "m"), node("Mul", "m a", "out")],
    "(1+erf)/2 first": [node("Mul", "a half", "m"), node("Mul", "image m", "out")],
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("curve", [ERF, CUBIC], ids=["erf", "tanh"])
def test_a_gelu_counts_nothing_as_a_whole(curve: list[onnx.NodeProto], ending: str) -> None:
    assert cost_of([*curve, *ENDINGS[ending]], GELU_CONSTANTS).flops == 0


def test_a_scale_behind_a_gelu_is_none_of_it() -> None:
    nodes = [*ERF, node("Mul", "image a", "m"), node("Mul", "m half", "g"), node("Mul", "g gamma", "out")]
    cost = cost_of(nodes, GELU_CONSTANTS)
    assert (only(cost).op, cost.flops, cost.parameters) == ("Mul", PICTURE, 1)


def test_something_like_a_gelu_counts_by_its_nodes() -> None:
    """Of another x: Div, Add and two Mul, one an element each."""
    nodes = [*ERF, node("Abs", "image", "y"), node("Mul", "y a", "m"), node("Mul", "m half", "out")]
    assert cost_of(nodes, GELU_CONSTANTS).flops == 4 * PICTURE


def test_a_gelu_whose_inside_is_read_elsewhere_counts_by_its_nodes() -> None:
    nodes = [*ERF, *ENDINGS["x(1+erf), halved"][:1], node("Mul", "m half", "g"), node("Mul", "g d", "out")]
    assert cost_of(nodes, GELU_CONSTANTS).flops == 5 * PICTURE  # Div, Add and three Mul


def test_nodes_on_constants_alone_are_folded() -> None:
    """Weight standardisation without eps: the weight is computed from w, and counts with its own shape."""
    nodes = [
        node("Reshape", "w flat", "r"),
        node("ReduceMean", "r", "mean", axes=[1]),
        node("Sub", "r mean", "d"),
        node("Mul", "d gain", "g"),
        node("Reshape", "g back", "v"),
        node("Conv", "image v", "out"),
    ]
    shapes = [numbers("flat", 4, 27, dtype=np.int64), numbers("back", 4, 3, 3, 3, dtype=np.int64)]
    cost = cost_of(nodes, [floats("w", 4, 3, 3, 3), floats("gain", 4, 1), *shapes])
    assert (only(cost).flops, cost.parameters) == (2 * 4 * 36 * 27, 4 * 27)


def test_what_hangs_on_shapes_alone_is_folded() -> None:
    nodes = [
        node("Shape", "image", "s"),
        node("Cast", "s", "c", to=1),
        node("Mul", "c c", "m"),
        node("Abs", "image", "out"),
    ]
    assert cost_of(nodes).flops == 0


def test_integers_are_not_counted() -> None:
    nodes = [node("Cast", "image", "i", to=7), node("Add", "i i", "j"), node("Cast", "j", "out", to=1)]
    assert cost_of(nodes).flops == 0


CONV = node("Conv", "x w", "out")
WEIGHT = floats("w", 4, 3, 1, 1)
PRODUCT = 2 * 4 * 64 * 3


@pytest.mark.parametrize("scale", [numbers("c", 2), floats("c", 3, 1, 1)], ids=["one number", "one a channel"])
def test_a_scale_in_front_of_a_convolution_is_folded_into_it(scale: onnx.TensorProto) -> None:
    cost = cost_of([node("Mul", "image c", "x"), CONV], [WEIGHT, scale])
    assert (cost.flops, cost.parameters) == (PRODUCT, 12)


def test_a_scale_of_each_column_is_not_folded() -> None:
    assert cost_of([node("Mul", "image c", "x"), CONV], [WEIGHT, floats("c", 8)]).flops == PRODUCT + PICTURE


def test_a_scale_that_others_read_too_is_not_folded() -> None:
    nodes = [
        node("Div", "image c", "x"),
        node("Conv", "x w", "y"),
        node("Conv", "x w", "z"),
        node("Concat", "y z", "out", axis=1),
    ]
    cost = cost_of(nodes, [WEIGHT, numbers("c", 2)])
    assert cost.flops == 2 * PRODUCT + PICTURE
    assert cost.parameters == 12 + 1  # the weight once, and c


def test_a_scale_is_folded_through_zeros_alone() -> None:
    pads = numbers("p", 0, 0, 1, 1, 0, 0, 1, 1, dtype=np.int64)
    nodes = [node("Mul", "image c", "s"), node("Pad", "s p v", "x"), CONV]
    flops = [cost_of(nodes, [WEIGHT, numbers("c", 2), pads, numbers("v", value)]).flops for value in (0, 1)]
    assert flops == [2 * 4 * 100 * 3, 2 * 4 * 100 * 3 + PICTURE]


def test_scales_in_a_row_are_one() -> None:
    nodes = [node("Mul", "image c", "x"), node("Mul", "x c", "y"), node("Div", "y c", "out")]
    assert cost_of(nodes, [numbers("c", 2)]).flops == PICTURE


def test_scales_behind_a_convolution_are_folded() -> None:
    nodes = [node("Conv", "image w", "x"), node("Mul", "x c", "y"), node("Mul", "y c", "out")]
    assert cost_of(nodes, [WEIGHT, numbers("c", 2)]).flops == PRODUCT


def test_a_scale_behind_an_output_of_the_graph_is_not_folded() -> None:
    proto = model([node("Conv", "image w", "x"), node("Mul", "x c", "out")], [WEIGHT, numbers("c", 2)])
    proto.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    assert count_cost(proto).flops == PRODUCT + 4 * 64


STATISTICS = [floats(name, 4) for name in ("s", "b", "m", "v")]


def test_a_batch_norm_behind_a_convolution_is_its_bias() -> None:
    nodes = [node("Conv", "image w", "x"), node("BatchNormalization", "x s b m v", "out")]
    cost = cost_of(nodes, [WEIGHT, *STATISTICS])
    assert (cost.flops, cost.parameters) == (PRODUCT + 4 * 64, 12 + 4)
    nodes = [node("Conv", "image w b", "x"), node("BatchNormalization", "x s b m v", "out")]
    cost = cost_of(nodes, [WEIGHT, *STATISTICS])
    assert (cost.flops, cost.parameters) == (PRODUCT + 4 * 64, 12 + 4)


def test_another_batch_norm_is_a_scale_and_a_shift() -> None:
    statistics = [floats(name, 3) for name in ("s", "b", "m", "v")]
    cost = cost_of([node("BatchNormalization", "image s b m v", "out")], statistics)
    assert (cost.flops, cost.parameters) == (2 * PICTURE, 6)


def test_normalisations() -> None:
    layer = cost_of([node("LayerNormalization", "image s b", "out")], [floats("s", 8), floats("b", 8)], opset=17)
    assert (layer.flops, layer.parameters) == (7 * PICTURE, 16)
    ones, zeros = (
        numpy_helper.from_array(np.full(3, value, np.float32), name) for name, value in (("s", 1), ("b", 0))
    )
    plain = cost_of([node("InstanceNormalization", "image s b", "out")], [ones, zeros])
    assert (plain.flops, plain.parameters) == (5 * PICTURE, 0)
    own = cost_of([node("InstanceNormalization", "image s b", "out")], [floats("s", 3), zeros])
    assert (own.flops, own.parameters) == (7 * PICTURE, 6)

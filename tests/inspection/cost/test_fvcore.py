"""The rule 'timm', line by line: each figure is worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nfexport.inspection.cost import Cost, count_cost
from nfexport.inspection.cost.fvcore import STANDARDISATION
from tests.inspection.cost.graphs import PICTURE, cost_of, floats, model, node, numbers, only
from tests.passes.graphs import Array

WEIGHT = 4 * 3 * 3 * 3
PRODUCT = 36 * WEIGHT


def timm(nodes: Sequence[onnx.NodeProto], initializers: Sequence[onnx.TensorProto] = (), **options: Any) -> Cost:
    return cost_of(nodes, initializers, rule="timm", **options)


def test_a_product_is_its_multiplications_and_no_bias() -> None:
    layer = only(timm([node("Conv", "image w b", "out")], [floats("w", 4, 3, 3, 3), floats("b", 4)]))
    assert (layer.macs, layer.flops) == (PRODUCT, 2 * PRODUCT)
    assert (layer.activations, layer.parameters) == (4 * 36, WEIGHT + 4)


def test_activations_are_the_outputs_of_products_alone() -> None:
    nodes = [node("Relu", "image", "x"), node("MatMul", "x w", "y"), node("Add", "y b", "out")]
    cost = timm(nodes, [floats("w", 8, 5), floats("b", 5)])
    assert (cost.activations, cost.macs, cost.parameters) == (3 * 8 * 5, 3 * 8 * 8 * 5, 45)


@pytest.mark.parametrize("operator", ["Relu", "Sigmoid", "Softmax", "Erf", "ReduceMean", "GlobalAveragePool"])
def test_all_else_counts_nothing(operator: str) -> None:
    assert timm([node(operator, "image", "out")]).layers == ()


@pytest.mark.parametrize(("outputs", "factor"), [("out", 2), ("out a b c d", 5)])
def test_a_batch_norm_is_two_or_five_an_element(outputs: str, factor: int) -> None:
    statistics = [floats(name, 3) for name in ("s", "b", "m", "v")]
    cost = timm([node("BatchNormalization", "image s b m v", outputs)], statistics)
    assert (cost.macs, cost.parameters) == (factor * PICTURE, 6)  # the running statistics are no parameters


def test_a_layer_norm_is_five_an_element_also_in_pieces() -> None:
    whole = timm([node("LayerNormalization", "image s", "out")], [floats("s", 8)], opset=17)
    pieces = [
        node("ReduceMean", "image", "m", axes=[-1]),
        node("Sub", "image m", "d"),
        node("Pow", "d two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Sqrt", "v", "r"),
        node("Div", "d r", "n"),
        node("Mul", "n s", "out"),
    ]
    written_out = timm(pieces, [floats("s", 8), numbers("two", 2)])
    assert (whole.macs, whole.parameters) == (written_out.macs, written_out.parameters) == (5 * PICTURE, 8)


@pytest.mark.parametrize(("mode", "factor"), [("nearest", 1), ("linear", 4), ("cubic", 0)])
def test_resizing_counts_what_it_writes(mode: str, factor: int) -> None:
    cost = timm([node("Resize", "image  scales".replace("  ", " roi "), "out", mode=mode)], [SCALES, ROI])
    assert cost.macs == factor * 4 * PICTURE


SCALES = numbers("scales", 1, 1, 2, 2)
ROI = numpy_helper.from_array(np.zeros(0, np.float32), "roi")


def training_form(*, gain: bool, mode: bool) -> Cost:
    """timm's own form: BatchNormalization with statistics of the weight, as TorchScript writes it."""
    outputs, attributes, opset = ("v a b", {"training_mode": 1}, 14) if mode else ("v a b c d", {}, 11)
    nodes = [
        node("Reshape", "w flat", "r"),
        node("BatchNormalization", "r s z z o", outputs, **attributes),
        node("Reshape", "v back", "k"),
        node("Conv", "image k", "out"),
    ]
    ones = np.ones(4, np.float32)
    vectors = {"s": ones * (0.3 if gain else 1), "z": ones * 0, "o": ones}
    constants = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in vectors.items()]
    shapes = [numbers("flat", 1, 4, 27, dtype=np.int64), numbers("back", 4, 3, 3, 3, dtype=np.int64)]
    return timm(nodes, [floats("w", 4, 3, 3, 3), *constants, *shapes], opset=opset)


@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize(("gain", "factor"), [(True, 5), (False, 4)])
def test_a_standardised_weight_is_a_batch_norm_of_the_weight(gain: bool, factor: int, mode: bool) -> None:
    cost = training_form(gain=gain, mode=mode)
    assert [(layer.op, layer.macs) for layer in cost.layers] == [
        (STANDARDISATION, factor * WEIGHT),
        ("Conv", PRODUCT),
    ]
    assert cost.notes == ()


def test_another_computed_weight_is_not_standardised() -> None:
    cost = timm([node("Abs", "w", "v"), node("Conv", "image v", "out")], [floats("w", 4, 3, 3, 3)])
    assert (only(cost).op, cost.parameters) == ("Conv", WEIGHT)


def save(path: Path, weight: Array, *, external: bool = False) -> Path:
    proto = model([node("Conv", "image w", "out")], [numpy_helper.from_array(weight, "w")])
    onnx.save_model(proto, path, save_as_external_data=external, location="w.data", size_threshold=0)
    return path


def standardised(*, gain: bool, dtype: type = np.float32) -> Array:
    weight = np.random.default_rng(7).normal(0.1, 0.03, (16, 3, 3, 3))
    weight -= weight.mean(axis=(1, 2, 3), keepdims=True)
    weight /= np.sqrt(weight.var(axis=(1, 2, 3), keepdims=True) + 1e-8)
    scale = np.linspace(-0.2, 0.9, 16).reshape(16, 1, 1, 1) if gain else 1.0
    return (weight * scale).astype(dtype)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize(("gain", "factor"), [(True, 5), (False, 4)])
def test_a_folded_standardisation_is_known_by_its_filters(
    gain: bool, factor: int, dtype: type, external: bool, tmp_path: Path
) -> None:
    path = save(tmp_path / "m.onnx", standardised(gain=gain, dtype=dtype), external=external)
    cost = count_cost(path, rule="timm")
    assert cost.macs == 36 * 16 * 27 + factor * 16 * 27
    assert cost.notes == (
        "weight standardisation was folded: 1 of 1 convolutions have filters of mean 0, and are counted as "
        "standardised; gains are not among the parameters",
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda w: w + 1e-5 * np.abs(w).max(axis=(1, 2, 3), keepdims=True),
        lambda w: w * np.array([1, 2, 3]).reshape(1, 3, 1, 1),
        lambda w: w * 0,
    ],
)
def test_other_filters_are_not_taken_for_standardised(spoil: Callable[[Array], Array], tmp_path: Path) -> None:
    """A mean of 1e-5 of the largest; channels scaled apart, as by a folded normalisation; zeros."""
    weight = spoil(standardised(gain=True).astype(np.float64)).astype(np.float32)
    cost = count_cost(save(tmp_path / "m.onnx", weight), rule="timm")
    assert (cost.macs, cost.notes) == (36 * 16 * 27, ())


def test_what_a_folded_batch_norm_hides_is_said() -> None:
    cost = timm([node("Conv", "image w b", "out")], [floats("w", 4, 3, 3, 3), floats("b", 4)])
    assert cost.notes == (
        "a batch norm that was folded into a convolution cannot be told from its bias: timm counts 2 MACs an element "
        "for each, and two parameters a channel for one",
    )

"""Pixels come in as they are, and are normalised exactly, in front of the network or inside its first layer."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.front.normalize import Normalize
from nfexport.passes.opset.convert_opset import ConvertOpset
from nfexport.recipe.opsets import newest_opset
from tests.passes.graphs import Array, normal, operators, parse, stored
from tests.passes.preprocessing import (
    MEAN,
    OLD_PAD_NODE,
    PAD_NODE,
    PADDED,
    PADS,
    SHARED,
    STD,
    UNBIASED,
    UNPADDED,
    WEIGHTS,
    error,
    network,
    normalise,
    outcome,
    pixels,
)

EXACT = 1e-6
"""Of the output's range: float32 sums over a fan-in of 27, which reach 1e-7; wrong formulas are at 1e-2 and more."""

X = pixels().astype(np.float32)


def expected(text: str, mean: object = MEAN, std: object = STD, opset: int = 11, **more: Array) -> Array:
    return outcome(network(text, opset, **more), normalise(X, mean, std))


def test_as_nodes_it_is_the_textbook_formula_bit_by_bit() -> None:
    model = parse("g (float[N,3,9,8] x) => (float[N,3,9,8] y) { y = Identity (x) }")
    report = Normalize(mean=MEAN, std=STD).apply(model)
    unit = X / np.float32(255)
    mean, std = (np.array(numbers, np.float32).reshape(3, 1, 1) for numbers in (MEAN, STD))
    assert operators(model) == ["Sub", "Div", "Identity"]
    assert report.facts["nodes"] == ["/preprocessing/Sub", "/preprocessing/Div"]
    np.testing.assert_array_equal(outcome(model, unit), (unit - mean) / std)
    assert error((unit / std) - mean, (unit - mean) / std) > 0.1  # the deviation applied before the mean
    # multiplying by the reciprocal is close, not equal
    assert ((unit - mean) * (1 / std) != (unit - mean) / std).any()


def test_the_range_multiplies_both_and_is_rounded_once() -> None:
    model = network(PADDED)
    Normalize(mean=MEAN, std=STD, value_range=255).apply(model)
    constants = [stored(model.graph.initializers[f"/preprocessing/{what}"]) for what in ("mean", "std")]
    np.testing.assert_array_equal(constants[0].ravel(), np.array([123.675, 116.28, 103.53], np.float32))
    np.testing.assert_array_equal(constants[1].ravel(), np.array([58.395, 57.12, 57.375], np.float32))
    assert error(outcome(model, X), expected(PADDED)) < EXACT


@pytest.mark.parametrize("fold", [False, True])
def test_mean_0_and_std_1_divide_by_the_range_alone(fold: bool) -> None:
    model = network(PADDED)
    report = Normalize(mean=(0, 0, 0), std=(1, 1, 1), value_range=255, fold=fold).apply(model)
    assert operators(model) == (["Conv"] if fold else ["Div", "Conv"])
    assert report.facts["form"] == ("scale" if fold else "nodes")
    assert error(outcome(model, X), expected(PADDED, (0, 0, 0), (1, 1, 1))) < EXACT


FOLDED = {
    "unpadded": (UNPADDED, MEAN, "bias", ["Conv"]),
    "no bias": (UNBIASED, MEAN, "bias", ["Conv"]),
    "padded by nothing": (UNPADDED.replace("Conv (", "Conv <pads = [0, 0, 0, 0]> ("), MEAN, "bias", ["Conv"]),
    "padded": (PADDED, MEAN, "sub", ["Sub", "Conv"]),
    "padded, shared mean": (PADDED, SHARED, "padding", ["Pad", "Conv"]),
    "auto_pad": (UNPADDED.replace("Conv", 'Conv <auto_pad = "SAME_UPPER">'), SHARED, "sub", ["Sub", "Conv"]),
    "auto_pad valid": (UNPADDED.replace("Conv", 'Conv <auto_pad = "VALID">'), MEAN, "bias", ["Conv"]),
    "Pad": (PAD_NODE, MEAN, "sub", ["Sub", "Pad", "Conv"]),
    "Pad, shared mean": (PAD_NODE, SHARED, "padding", ["Pad", "Conv"]),
    "Pad by reflection": (PAD_NODE.replace("Pad", 'Pad <mode = "reflect">'), MEAN, "bias", ["Pad", "Conv"]),
    "Pad and padded": (PAD_NODE.replace("Conv", "Conv <pads = [1, 1, 1, 1]>"), SHARED, "sub", ["Sub", "Pad", "Conv"]),
}


@pytest.mark.parametrize(("text", "mean", "form", "left"), FOLDED.values(), ids=FOLDED)
@pytest.mark.parametrize("opset", [11, 18])
def test_it_folds_all_that_is_exact(
    text: str, mean: tuple[float, ...], form: str, left: list[str], opset: int
) -> None:
    model = network(text, opset)
    report = Normalize(mean=mean, std=SHARED, value_range=255, fold=True).apply(model)
    assert report.facts["form"] == form
    assert operators(model) == left
    assert report.facts["largest_weight_error"] < np.finfo(np.float32).eps
    assert error(outcome(model, X), expected(text, mean, SHARED, opset)) < EXACT


@pytest.mark.parametrize(("axes", "exact"), [([-2, -1], True), ([0, 3], False)])
def test_a_pad_that_names_its_axes_is_read(axes: list[int], exact: bool) -> None:
    text = PAD_NODE.replace("pads)", "pads, value, axes)")
    more = {"pads": np.array([1, 1, 1, 0]), "value": np.array(0, np.float32), "axes": np.array(axes)}
    model = network(text, 18, **more)
    if not exact:
        with pytest.raises(PassError, match=r"node '/Pad_0' \(Pad\) adds more than rows and columns"):
            Normalize(mean=SHARED, std=STD, value_range=255, fold=True).apply(model)
        return
    Normalize(mean=SHARED, std=STD, value_range=255, fold=True).apply(model)
    assert error(outcome(model, X), expected(text, SHARED, STD, 18, **more)) < EXACT


def border(output: Array) -> Array:
    """Say of each output cell [H, W] of PADDED whether it reads padded cells."""
    rows, columns = output.shape[2:]
    mask = np.zeros((rows, columns), bool)
    mask[[0, -1], :] = True
    mask[:, [0, -1]] = True
    return mask


@pytest.mark.parametrize("mean", [MEAN, SHARED], ids=["one Sub", "padding with the mean"])
def test_every_pixel_of_the_border_is_right_and_a_plain_bias_is_not(mean: tuple[float, ...]) -> None:
    unpadded = network(UNPADDED)
    Normalize(mean=mean, std=STD, value_range=255, fold=True).apply(unpadded)
    naive = network(PADDED, **{name: stored(unpadded.graph.initializers[name]) for name in ("w", "b")})
    model = network(PADDED)
    Normalize(mean=mean, std=STD, value_range=255, fold=True).apply(model)
    for picture in (X, np.zeros_like(X), np.full_like(X, 255)):
        right = outcome(network(PADDED), normalise(picture, mean, STD))
        span = np.ptp(right)
        per_pixel = np.abs(outcome(model, picture) - right).max(axis=(0, 1)) / span
        naive_per_pixel = np.abs(outcome(naive, picture) - right).max(axis=(0, 1)) / span
        edge = border(right)
        assert (per_pixel < EXACT).all()
        assert (naive_per_pixel[~edge] < EXACT).all()
        assert (naive_per_pixel[edge] > 0.01).all()


def test_a_pad_with_a_constant_of_its_own_keeps_its_meaning_or_is_refused() -> None:
    text = PAD_NODE.replace("pads)", "pads, value)")
    value = np.array(-1, np.float32)
    model = network(text, value=value)
    report = Normalize(mean=SHARED, std=SHARED, value_range=255, fold=True).apply(model)
    assert report.facts["form"] == "padding"
    # −1 in units of the normalised image is a black pixel
    assert float(stored(model.graph[0].inputs[2])) == 0
    assert error(outcome(model, X), expected(text, SHARED, SHARED, value=value)) < EXACT
    with pytest.raises(PassError, match="would differ from channel to channel; pass --normalize without 'fold'"):
        Normalize(mean=SHARED, std=STD, value_range=255, fold=True).apply(network(text, value=value))


@pytest.mark.parametrize("fold", [False, True])
def test_grouped_and_depthwise_convolutions(fold: bool) -> None:
    for group, w in ((3, normal(6, 1, 3, 3, seed=7)), (2, normal(6, 2, 3, 3, seed=8))):
        text = UNPADDED.replace("Conv", f"Conv <group = {group}>").replace("N,4", "N,6").replace(", b)", ")")
        text = text.replace("N,3", f"N,{w.shape[1] * group}")
        channels = w.shape[1] * group
        mean, std = (*MEAN, 0.3)[:channels], (*STD, 0.7)[:channels]
        picture = pixels(2, channels, 9, 8).astype(np.float32)
        model = network(text, w=w)
        Normalize(mean=mean, std=std, value_range=255, fold=fold).apply(model)
        right = outcome(network(text, w=w), normalise(picture, mean, std))
        assert error(outcome(model, picture), right) < EXACT


TWO = """g (float[N,3,9,8] x) => (float[N,4,7,6] y, float[N,4,?,?] z) {
    y = Conv (x, w, b)
    z = Conv <strides = [2, 2]> (x, w)
}"""


@pytest.mark.parametrize("second", ["<strides = [2, 2]>", "<pads = [1, 1, 1, 1]>"], ids=["unpadded", "padded"])
def test_several_convolutions_share_the_work_and_keep_shared_weights_apart(second: str) -> None:
    text = TWO.replace("<strides = [2, 2]>", second)
    model = network(text)
    report = Normalize(mean=MEAN, std=STD, value_range=255, fold=True).apply(model)
    assert report.changed == 2
    assert operators(model) == (["Conv", "Conv"] if "strides" in second else ["Sub", "Conv", "Conv"])
    assert error(outcome(model, X), expected(text)) < EXACT


def test_an_initializer_that_is_an_input_too_does_not_become_a_required_input() -> None:
    text = UNPADDED.replace("x)", "x, float[4,3,3,3] w)")
    model = parse(text, weights=WEIGHTS)
    Normalize(mean=MEAN, std=STD, value_range=255, fold=True).apply(model)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert error(outcome(model, X), expected(UNPADDED)) < EXACT


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 17, 18, newest_opset()])
@pytest.mark.parametrize("fold", [False, True])
def test_it_is_valid_at_every_opset(opset: int, fold: bool) -> None:
    for text in (PADDED, PAD_NODE if opset >= 11 else OLD_PAD_NODE):
        model = network(text, opset)
        Normalize(mean=SHARED, std=STD, value_range=255, fold=fold).apply(model)
        assert error(outcome(model, X), expected(text, SHARED, STD, opset)) < EXACT


def test_what_it_writes_can_be_carried_to_another_opset() -> None:
    model = network(PADDED, 18)
    Normalize(mean=SHARED, std=STD, value_range=255, fold=True).apply(model)
    ConvertOpset(opset=9).apply(model)
    assert error(outcome(model, X), expected(PADDED, SHARED, STD)) < EXACT


@pytest.mark.parametrize("fold", [False, True])
def test_a_float16_network_gets_float16_constants(fold: bool) -> None:
    half = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    model = network(PADDED.replace("float[", "float16["), 13, **half)
    Normalize(mean=MEAN, std=STD, value_range=255, fold=fold).apply(model)
    assert {value.dtype for value in model.graph.initializers.values()} == {ir.DataType.FLOAT16}
    # the weights, the constants and the outputs have 11 bits each
    assert error(outcome(model, X.astype(np.float16)), expected(PADDED)) < 5e-3


def test_constants_that_underflow_are_refused() -> None:
    tiny = {name: (array * 1e-5).astype(np.float16) for name, array in WEIGHTS.items()}
    model = network(PADDED.replace("float[", "float16["), 13, **tiny)
    with pytest.raises(PassError, match="the weight of '/Conv_0' cannot be held in FLOAT16, where it over- or under"):
        Normalize(mean=MEAN, std=STD, value_range=255, fold=True).apply(model)
    with pytest.raises(PassError, match=r"the std 1e-09 cannot be held in FLOAT16"):
        Normalize(mean=MEAN, std=(1e-9, 1, 1)).apply(model)


RELU = "g (float[N,3,9,8] x) => (float[N,3,9,8] y) { y = Relu (x) }"
ADDED = """g (float[N,3,9,8] x) => (float[N,4,7,6] y, float[N,3,9,8] z) {
    y = Conv (x, w, b)
    z = Relu (x)
}"""
PAD_OUT = PAD_NODE.replace("(float[N,4,?,?] y)", "(float[N,4,?,?] y, float[N,3,?,?] p)")
COMPUTED = """g (float[N,3,9,8] x) => (float[N,4,7,6] y) {
    v = Neg (w)
    y = Conv (x, v, b)
}"""
DYNAMIC_PAD = """g (float[N,3,9,8] x) => (float[N,4,?,?] y) {
    q = Neg (pads)
    p = Pad (x, q)
    y = Conv (p, w, b)
}"""
UNFOLDABLE = {
    "first node no Conv": (RELU, r"node '/Relu_0' \(Relu\) reads the image.*; pass --normalize without 'fold'"),
    "another reader": (
        ADDED,
        r"node '/Relu_1' \(Relu\) reads the image, and only a convolution can be folded into",
    ),
    "an output between": (PAD_OUT, "'p', which the first convolution reads, is an output of the graph too"),
    "computed weight": (COMPUTED, r"weight of the first convolution '/Conv_1' is not constant; pass --fold-ws, or"),
    "computed Pad": (DYNAMIC_PAD, r"what node '/Pad_1' \(Pad\) adds is computed at run time"),
}


@pytest.mark.parametrize(("text", "message"), UNFOLDABLE.values(), ids=UNFOLDABLE)
def test_it_refuses_to_fold_and_names_the_node(text: str, message: str) -> None:
    model = network(text)
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(PassError, match=message):
        Normalize(mean=MEAN, std=STD, fold=True).apply(model)
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("text", [RELU, ADDED, PAD_OUT, COMPUTED, DYNAMIC_PAD], ids=UNFOLDABLE)
def test_nodes_in_front_need_no_convolution(text: str) -> None:
    pads = -PADS["pads"]
    model = network(text, pads=pads)
    Normalize(mean=MEAN, std=STD, value_range=255).apply(model)
    assert error(outcome(model, X), outcome(network(text, pads=pads), normalise(X))) < EXACT


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mean": (0.5,)}, "the mean has 1 numbers, and the input has 3 channels; pass one number per channel"),
        ({"std": (0.5, 0.5)}, "the standard deviation has 2 numbers, and the input has 3 channels"),
        ({"std": (0.5, 0.0, 0.5)}, r"the standard deviation \(0.5, 0.0, 0.5\) is not positive; pass numbers above 0"),
        ({"mean": (0.5, float("nan"), 0.5)}, r"the mean \(0.5, nan, 0.5\) is not finite; pass finite numbers"),
        ({"std": (0.5, float("inf"), 0.5)}, "the standard deviation .* is not finite"),
        ({"value_range": 0}, "pixels cannot range from 0 to 0; pass --input-range 255 or 1"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(PassError, match=message):
        Normalize(**{"mean": MEAN, "std": STD, **params}).apply(network(PADDED))  # type: ignore[arg-type]

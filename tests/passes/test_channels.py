"""The file takes BGR, by a node in front or by constants in another order; no number changes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.graph.constants import set_constant
from nfexport.passes.front.channels import SwapChannels
from nfexport.passes.front.normalize import Normalize
from tests.passes.graphs import Array, normal, operators, stored
from tests.passes.preprocessing import (
    MEAN,
    PAD_NODE,
    PADDED,
    STD,
    UNPADDED,
    error,
    network,
    normalise,
    outcome,
    pixels,
)

X = pixels().astype(np.float32)
BGR = X[:, ::-1].copy()
EXACT = 1e-6
"""Of the output's range: a runtime may sum the 27 products in another order; wrong orders are at 1e-2 and more."""


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("text", [PADDED, UNPADDED, PAD_NODE], ids=["padded", "unpadded", "Pad"])
def test_bgr_in_gives_what_rgb_gave(text: str, fold: bool) -> None:
    model = network(text)
    before = operators(model)
    report = SwapChannels(order="bgr", fold=fold).apply(model)
    right = outcome(network(text), X)
    assert operators(model) == (before if fold else ["Gather", *before])
    assert report.facts["form"] == ("fold" if fold else "nodes")
    assert error(outcome(model, BGR), right) < EXACT
    assert error(outcome(model, X), right) > 0.01
    if fold:
        np.testing.assert_array_equal(
            stored(model.graph.initializers["w"]), normal(4, 3, 3, 3, seed=1, scale=0.2)[:, ::-1]
        )


def normalised(fold: bool) -> ir.Model:
    model = network(PADDED)
    Normalize(mean=MEAN, std=STD, value_range=255, fold=fold).apply(model)
    return model


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("fold_normalisation", [False, True])
def test_the_swap_comes_before_the_normalisation(fold: bool, fold_normalisation: bool) -> None:
    model = normalised(fold_normalisation)
    before = operators(model)
    SwapChannels(order="bgr", fold=fold).apply(model)
    assert operators(model) == (before if fold else ["Gather", *before])
    assert error(outcome(model, BGR), outcome(network(PADDED), normalise(X))) < EXACT


@pytest.mark.parametrize("fold_normalisation", [False, True])
def test_a_mean_that_is_not_permuted_would_be_wrong(fold_normalisation: bool) -> None:
    model = normalised(fold_normalisation)
    SwapChannels(order="bgr", fold=True).apply(model)
    right = outcome(network(PADDED), normalise(X))
    mean = stored(model.graph[0].inputs[1])
    np.testing.assert_array_equal(mean.ravel(), np.array([103.53, 116.28, 123.675], np.float32))
    set_constant(model.graph, model.graph[0], 1, mean[:, ::-1])
    assert error(outcome(model, BGR), right) > 0.01


def test_scalars_and_constants_of_less_rank_are_permuted_as_they_need() -> None:
    text = """g (float[N,3,9,8] x) => (float[N,4,7,6] y) {
        s = Mul (half, x)
        t = Sub (m, s)
        y = Conv (t, w, b)
    }"""
    more = {"half": np.array(0.5, np.float32), "m": normal(3, 1, 1, seed=4, scale=100)}
    model = network(text, **more)
    report = SwapChannels(order="bgr", fold=True).apply(model)
    assert report.facts["nodes"] == ["/Sub_1", "/Conv_2"]
    assert error(outcome(model, BGR), outcome(network(text, **more), X)) < EXACT


def test_twice_is_back_again() -> None:
    model = network(PADDED)
    for _ in range(2):
        SwapChannels(order="bgr", fold=True).apply(model)
    np.testing.assert_array_equal(outcome(model, X), outcome(network(PADDED), X))


GROUPED = UNPADDED.replace("Conv", "Conv <group = 3>").replace("N,4", "N,6").replace(", b)", ")")
RELU = "g (float[N,3,9,8] x) => (float[N,3,9,8] y) { y = Relu (x) }"
ROW_CONSTANT = """g (float[N,3,9,8] x) => (float[N,4,7,6] y) {
    s = Sub (x, m)
    y = Conv (s, w, b)
}"""


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (
            GROUPED,
            {"w": normal(6, 1, 3, 3)},
            "the first convolution '/Conv_0' is grouped; swap the channels by a node",
        ),
        (RELU, {}, r"node '/Relu_0' \(Relu\) reads the image, and only a convolution can be folded into; swap the"),
        (ROW_CONSTANT, {"m": normal(8)}, r"node '/Sub_0' \(Sub\) reads the image"),
        (
            PAD_NODE,
            {"pads": np.array([1, 0, 0, 0, 0, 0, 0, 0])},
            r"node '/Pad_0' \(Pad\) adds more than rows and columns",
        ),
    ],
    ids=["grouped", "no convolution", "a constant per column", "a Pad of the batch"],
)
def test_folding_is_refused_where_it_is_not_exact_and_a_node_still_does(
    text: str, more: dict[str, Array], message: str
) -> None:
    model = network(text, **more)
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(PassError, match=message):
        SwapChannels(order="bgr", fold=True).apply(model)
    assert ir.to_proto(model).SerializeToString() == before
    SwapChannels(order="bgr").apply(model)
    assert error(outcome(model, BGR), outcome(network(text, **more), X)) < EXACT


def test_what_is_not_rgb_is_refused() -> None:
    grey = "g (float[N,1,9,8] x) => (float[N,1,9,8] y) { y = Relu (x) }"
    with pytest.raises(
        PassError, match="input 'x' has 1 channels, and bgr is an order of three; leave out --channels"
    ):
        SwapChannels(order="bgr").apply(network(grey))
    with pytest.raises(PassError, match="'rgb' is not a channel order; pass --channels bgr, or leave it out for rgb"):
        SwapChannels(order="rgb").apply(network(PADDED))  # type: ignore[arg-type]

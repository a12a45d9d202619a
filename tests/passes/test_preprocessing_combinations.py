"""Every combination of the passes at the head, in their one order, on pixels as a camera gives them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import nfexport
from nfexport.passes.front.channels import SwapChannels
from nfexport.passes.front.input_form import InputForm
from nfexport.passes.front.normalize import Normalize
from tests.passes.graphs import Array, operators
from tests.passes.preprocessing import (
    MEAN,
    PAD_NODE,
    PADDED,
    SHARED,
    STD,
    UNPADDED,
    error,
    network,
    normalise,
    outcome,
    pixels,
)

NORMALISE = (None, False, True)
"""Not at all, as nodes, folded."""
SWAP = (None, False, True)
"""RGB, BGR by a node, BGR folded."""
X = pixels()


def prepare(model: ir.Model, how: tuple[bool | None, bool | None, str, str], mean: tuple[float, ...]) -> None:
    """Run the passes in the order of the pipeline."""
    fold, swap, dtype, layout = how
    if fold is not None:
        Normalize(mean=mean, std=STD, value_range=255, fold=fold).apply(model)
    if swap is not None:
        SwapChannels(order="bgr", fold=swap).apply(model)
    InputForm(dtype=dtype, layout=layout).apply(model)  # type: ignore[arg-type]


def as_the_file_takes_it(picture: Array, how: tuple[bool | None, bool | None, str, str]) -> Array:
    """Turn RGB, NCHW, uint8 into what the caller of the file has."""
    _, swap, dtype, layout = how
    picture = picture if swap is None else picture[:, ::-1]
    picture = picture if layout == "nchw" else picture.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(picture).astype(dtype)


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize(
    ("text", "mean"),
    [(PADDED, MEAN), (UNPADDED, MEAN), (PAD_NODE, SHARED)],
    ids=["padded", "unpadded", "Pad and shared mean"],
)
def test_every_combination_agrees_with_numpy_and_the_untouched_network(
    text: str, mean: tuple[float, ...], opset: int
) -> None:
    plain = {
        None: outcome(network(text, opset), X.astype(np.float32)),
        True: outcome(network(text, opset), normalise(X, mean)),
    }
    plain[False] = plain[True]
    wrong = []
    for how in itertools.product(NORMALISE, SWAP, ("uint8", "float32", "float16"), ("nchw", "nhwc")):
        model = network(text, opset)
        prepare(model, how, mean)
        # float32 sums over a fan-in of 27; pixels are whole numbers, exact in every type
        difference = error(outcome(model, as_the_file_takes_it(X, how)), plain[how[0]])
        if not difference < 1e-6:
            wrong.append((how, difference))
    assert not wrong


def test_the_order_of_the_passes_matters() -> None:
    right = outcome(network(PADDED), normalise(X))
    bgr = np.ascontiguousarray(X[:, ::-1]).astype(np.float32)
    for swap in (False, True):
        model = network(PADDED)
        SwapChannels(order="bgr", fold=swap).apply(model)
        Normalize(mean=MEAN, std=STD, value_range=255).apply(model)
        # the mean of red is taken from blue: 18 of 255
        assert error(outcome(model, bgr), right) > 0.01


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test_nfnet at opset 11, folded; its stem pads with zeros and its mean is 0.5 throughout."""
    target = tmp_path_factory.mktemp("exported") / "test_nfnet.onnx"
    nfexport.export("test_nfnet", target, opset=11, fold_ws=True, image_size=64, verify=False)
    return target


@pytest.mark.parametrize(("mean", "front"), [(SHARED, "Pad"), (MEAN, "Sub")])
def test_a_real_network_takes_a_camera_s_bytes_with_one_node_of_arithmetic_in_front(
    exported: Path, mean: tuple[float, ...], front: str
) -> None:
    how = (True, True, "uint8", "nhwc")
    x = pixels(2, 3, 64, 64)
    model = ir.from_proto(onnx.load(exported))
    unfolded = ir.from_proto(onnx.load(exported))
    first = operators(model)[0]
    prepare(model, how, mean)
    assert operators(model)[:4] == ["Cast", "Transpose", front, first]
    assert len(model.graph) == len(unfolded.graph) + 3
    for value in (*model.graph.inputs, *unfolded.graph.inputs):
        value.name = "x"
    right = outcome(unfolded, normalise(x, mean))
    # the folded first layer rounds anew: 3e-7 at the output
    assert error(outcome(model, as_the_file_takes_it(x, how)), right) < 2e-6
    off_by_one = ir.from_proto(onnx.load(exported))
    Normalize(mean=mean, std=STD, value_range=256, fold=True).apply(off_by_one)
    off_by_one.graph.inputs[0].name = "x"
    assert error(outcome(off_by_one, x.astype(np.float32)), right) > 1e-3

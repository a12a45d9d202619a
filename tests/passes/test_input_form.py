"""The file takes pictures in another type or layout; every number stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.front.channels import SwapChannels
from nfexport.passes.front.input_form import InputForm
from nfexport.passes.front.normalize import Normalize
from nfexport.recipe.opsets import newest_opset
from tests.passes.graphs import operators
from tests.passes.preprocessing import MEAN, PADDED, STD, error, network, normalise, outcome, pixels

X = pixels()
NHWC = X.transpose(0, 2, 3, 1).copy()
WHOLE = outcome(network(PADDED), X.astype(np.float32))


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, newest_opset()])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_same_pixels_give_the_same_numbers(dtype: str, layout: str, opset: int) -> None:
    model = network(PADDED, opset)
    report = InputForm(dtype=dtype, layout=layout).apply(model)  # type: ignore[arg-type]
    entry = model.graph.inputs[0]
    added = ["Cast"] * (dtype != "float32") + ["Transpose"] * (layout == "nhwc")
    assert operators(model) == [*added, "Conv"]
    assert report.changed == len(added)
    assert report.facts["nodes"] == [f"/preprocessing/{operator}" for operator in added]
    assert (entry.name, entry.dtype) == ("x", ir.DataType.from_numpy(np.dtype(dtype)))
    assert entry.shape is not None
    assert [str(size) for size in entry.shape] == (["N", "3", "9", "8"] if layout == "nchw" else ["N", "9", "8", "3"])
    picture = (X if layout == "nchw" else NHWC).astype(dtype)
    # whole numbers up to 255 are exact in all three types; a layout may change the order of a sum of 27
    assert error(outcome(model, picture), WHOLE) < 1e-6


def test_a_float16_network_can_take_float32() -> None:
    half = {"w": np.ones((4, 3, 3, 3), np.float16), "b": np.zeros(4, np.float16)}
    model = network(PADDED.replace("float[", "float16["), 13, **half)
    InputForm().apply(model)
    assert operators(model) == ["Cast", "Conv"]
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT
    assert outcome(model, X.astype(np.float32)).dtype == np.float16


def test_sizes_without_a_number_stay_so() -> None:
    model = network(PADDED.replace("N,3,9,8", "N,3,H,W"))
    InputForm(dtype="uint8", layout="nhwc").apply(model)
    shape = model.graph.inputs[0].shape
    assert shape is not None
    assert [str(size) for size in shape] == ["N", "H", "W", "3"]
    assert error(outcome(model, NHWC), WHOLE) < 1e-6


def test_the_other_passes_find_their_place_behind_it() -> None:
    model = network(PADDED)
    InputForm(dtype="uint8", layout="nhwc").apply(model)
    Normalize(mean=MEAN, std=STD, value_range=255).apply(model)
    SwapChannels(order="bgr").apply(model)
    assert operators(model) == ["Cast", "Transpose", "Gather", "Sub", "Div", "Conv"]
    right = outcome(network(PADDED), normalise(X))
    assert error(outcome(model, NHWC[..., ::-1].copy()), right) < 1e-6


@pytest.mark.parametrize(
    ("first", "node"),
    [({"dtype": "uint8"}, r"'/preprocessing/Cast' \(Cast\)"), ({"layout": "nhwc"}, r"'/preprocessing/Transpose'")],
)
def test_a_second_time_is_refused(first: dict[str, str], node: str) -> None:
    model = network(PADDED)
    InputForm(**first).apply(model)  # type: ignore[arg-type]
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(
        PassError, match=f"input 'x' already goes through node {node}.*; start from the file in which"
    ):
        InputForm(**first).apply(model)  # type: ignore[arg-type]
    assert ir.to_proto(model).SerializeToString() == before


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(PassError, match="'int8' is not an element type for images; pass --input-dtype uint8"):
        InputForm(dtype="int8").apply(network(PADDED))  # type: ignore[arg-type]
    with pytest.raises(PassError, match="'hwc' is not a layout; pass --input-layout nchw or nhwc"):
        InputForm(layout="hwc").apply(network(PADDED))  # type: ignore[arg-type]

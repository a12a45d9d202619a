"""Files that are right pass, files that are wrong do not, on a network of 400 parameters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from nfexport.errors import OnnxFileError
from nfexport.recipe.recipe import Output
from nfexport.verification import FixedTolerance, ImageModelUnderTest, VerificationReport, verify_session_against
from tests.verification.toy import INTERFACE, MeanTouchesAll, mixing, to_onnx, toy, weights


def verify(model: bytes, module: torch.nn.Module | None = None, **changes: Any) -> VerificationReport:
    fields = {field.name for field in dataclasses.fields(ImageModelUnderTest)}
    under_test = ImageModelUnderTest(
        **{**INTERFACE, "batch": "dynamic", **{k: v for k, v in changes.items() if k in fields}}
    )
    options = {k: v for k, v in changes.items() if k not in fields}
    return verify_session_against(module or toy(), model, under_test, **options)


def test_a_faithful_file_passes() -> None:
    report = verify(to_onnx(weights(toy())))
    assert report.passed, report.summary()
    assert [(case.name, case.batch) for case in report.cases] == [
        ("normal+gradient+blocks", 3),
        ("normal+gradient+blocks, entries reversed", 3),
        ("day", 1),
        ("flat+noise", 2),
        ("flat+noise, entries reversed", 2),
        ("impulses+checkerboard+night", 3),
        ("impulses+checkerboard+night, entries reversed", 3),
        ("larger batch", 6),
    ]
    assert report.tolerance == "5 times PyTorch's own float32 error"
    figures = report.to_dict()
    assert figures["max_relative_error"] < 1e-6
    assert figures["top1_agreement"] == 1


def test_a_fixed_batch_is_verified_at_that_size() -> None:
    report = verify(to_onnx(weights(toy()), batch=2), batch=2)
    assert report.passed, report.summary()
    assert {case.batch for case in report.cases} == {2}


@pytest.mark.parametrize("name", sorted(weights(toy())))
def test_any_tensor_that_is_0_3_percent_off_fails(name: str) -> None:
    arrays = weights(toy())
    arrays[name] = arrays[name] * np.float32(1.003)
    report = verify(to_onnx(arrays))
    assert not report.passed
    assert report.worst.comparison.severity > 10


def swap_channels(arrays: dict[str, np.ndarray]) -> bytes:
    return to_onnx({**arrays, "conv.weight": arrays["conv.weight"][:, ::-1].copy()})


def flip_the_kernel(arrays: dict[str, np.ndarray]) -> bytes:
    return to_onnx({**arrays, "conv.weight": arrays["conv.weight"][..., ::-1].copy()})


def shift_the_padding(arrays: dict[str, np.ndarray]) -> bytes:
    return to_onnx(arrays, pads=(0, 1, 2, 1))


def take_the_softmax(arrays: dict[str, np.ndarray]) -> bytes:
    return to_onnx(arrays, last="Softmax")


def round_to_half(arrays: dict[str, np.ndarray]) -> bytes:
    return to_onnx({**arrays, "head.weight": arrays["head.weight"].astype(np.float16).astype(np.float32)})


@pytest.mark.parametrize(
    "fault", [swap_channels, flip_the_kernel, shift_the_padding, take_the_softmax, round_to_half]
)
def test_structural_faults_fail(fault: Callable[[dict[str, NDArray[np.float32]]], bytes]) -> None:
    report = verify(fault(weights(toy())))
    assert not report.passed
    assert report.worst.comparison.severity > 10


def test_nan_fails() -> None:
    arrays = weights(toy())
    arrays["head.bias"][7] = np.nan
    report = verify(to_onnx(arrays))
    assert not report.passed
    assert "values are not finite" in report.summary()


def test_a_file_that_is_specialised_to_one_batch_size_fails_on_the_other() -> None:
    report = verify(to_onnx(weights(toy()), rows=3))
    assert {case.batch: case.comparison.passed for case in report.cases} == {3: True, 1: False, 2: False, 6: False}
    assert "'day' (batch 1): onnxruntime stopped: " in report.summary()
    assert "/Reshape" in report.summary()
    json.dumps(report.to_dict(), allow_nan=False)


def test_entries_that_influence_one_another_show_when_the_batch_is_reversed() -> None:
    """PyTorch and the file agree here: both mix the entries. Only the reversed batch tells."""
    module, model = mixing()
    report = verify(model, module)
    assert [case.name for case in report.cases if not case.comparison.passed] == [
        "normal+gradient+blocks, entries reversed",
        "flat+noise, entries reversed",
        "impulses+checkerboard+night, entries reversed",
    ]


def with_batch_mean(amount: str) -> bytes:
    """Return a file that adds a part of the batch's mean to each entry: 'always', or in 'large' batches of more than
    three."""
    model = onnx.load_from_string(to_onnx(weights(toy())))
    scale = helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [1e-3])
    zero, three = (
        helper.make_tensor(name, onnx.TensorProto.INT64, [1], [n]) for name, n in (("zero", 0), ("three", 3))
    )
    model.graph.initializer.extend([scale, zero, three])
    before = [
        helper.make_node("Shape", ["image"], ["image_shape"]),
        helper.make_node("Gather", ["image_shape", "zero"], ["batch"], axis=0),
        helper.make_node("Greater", ["batch", "three" if amount == "large" else "zero"], ["many"]),
        helper.make_node("Cast", ["many"], ["factor"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["mean", "scale"], ["little"]),
        helper.make_node("Mul", ["little", "factor"], ["chosen"]),
        helper.make_node("Add", ["image", "chosen"], ["mixed"]),
    ]
    model.graph.node[0].input[0] = "mixed"
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def test_a_branch_for_large_batches_shows_in_a_larger_batch() -> None:
    report = verify(with_batch_mean("large"))
    assert [case.name for case in report.cases if not case.comparison.passed] == ["larger batch"]
    assert report.worst.comparison.severity > 100


def test_a_network_whose_entries_influence_one_another_is_compared_as_a_whole() -> None:
    """The mean of a batch is the same in the opposite order."""
    module = MeanTouchesAll()
    module.load_state_dict(toy().state_dict())
    assert verify(with_batch_mean("always"), module.eval()).passed
    assert not verify(with_batch_mean("always")).passed


def test_chance_shows_when_a_batch_runs_twice() -> None:
    model = onnx.load_from_string(to_onnx(weights(toy())))
    noise = helper.make_node("RandomNormalLike", ["image"], ["noise"], scale=1e-6)
    model.graph.node[0].input[0] = "noisy"
    nodes = [noise, helper.make_node("Add", ["image", "noise"], ["noisy"]), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    # wide enough for the noise: asked is what two runs show of each other, not how far they are from PyTorch
    report = verify(model.SerializeToString(), tolerance=FixedTolerance(rtol=0.1, atol=0.1))
    assert [case.comparison.reason for case in report.cases if not case.comparison.passed] == [
        "two runs on the same inputs differ: it computes at random"
    ]


def test_a_fixed_bound_may_be_looser_than_the_rule() -> None:
    arrays = weights(toy())
    arrays["conv.weight"] = arrays["conv.weight"] * np.float32(1.0003)
    assert not verify(to_onnx(arrays)).passed
    # the looseness is the point: what the rule refuses, a user may allow
    loose = verify(to_onnx(arrays), tolerance=FixedTolerance(rtol=1e-2, atol=1e-2))
    assert loose.passed
    assert loose.tolerance == "rtol 0.01, atol 0.01"


def test_the_same_seed_gives_the_same_report() -> None:
    model = to_onnx(weights(toy()))
    assert verify(model) == verify(model)
    assert verify(model) != verify(model, seed=1)


def test_progress_says_what_is_being_done() -> None:
    said: list[str] = []
    verify(to_onnx(weights(toy())), progress=said.append)
    assert said == [
        "loading into onnxruntime",
        "comparing 'normal+gradient+blocks', batch 3",
        "comparing 'day', batch 1",
        "comparing 'flat+noise', batch 2",
        "comparing 'impulses+checkerboard+night', batch 3",
        "comparing a larger batch",
    ]


def test_other_names_than_the_recipes_are_refused() -> None:
    model = to_onnx(weights(toy()))
    with pytest.raises(OnnxFileError, match="has the inputs image where its recipe says 'input'; export"):
        verify(model, input_name="input")
    with pytest.raises(OnnxFileError, match="has the outputs logits where its recipe says 'probs'; export"):
        verify(model, outputs=(Output(kind="probs", name="probs"),))


def test_a_module_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="training mode"):
        verify(to_onnx(weights(toy())), toy().train())

"""A Pad and the MaxPool behind it give the right numbers at ONNX Runtime's default level."""

from __future__ import annotations

import numpy as np
import pytest

from nfexport.passes.opset.guard_pooling import GuardPooling
from tests.passes.graphs import parse, run

PAIR = """g (float[N,1,8,8] x) => (float[N,1,4,4] y) {
    p = Pad <mode = "constant"> (x, pads)
    y = MaxPool <kernel_shape = [3,3], strides = [2,2]> (p)
}"""
PADS = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
MINUS_ONES = -np.ones((1, 1, 8, 8), np.float32)


def test_the_border_counts_as_zero_once_guarded() -> None:
    model = parse(PAIR, weights=PADS)
    report = GuardPooling().apply(model)
    y = run(model, {"x": MINUS_ONES})[0]
    assert report.changed == 1
    assert y[0, 0, 0].tolist() == [0, 0, 0, 0]
    assert y[0, 0, 1:, 1:].max() == -1


def test_unguarded_the_runtime_gives_another_answer_than_its_own_unoptimised_run() -> None:
    """The reason for the pass; if it fails, the runtime was mended and the pass may go."""
    model = parse(PAIR, weights=PADS)
    right = run(model, {"x": MINUS_ONES}, optimise=False)[0]
    wrong = run(model, {"x": MINUS_ONES})[0]
    assert right[0, 0, 0, 0] == 0
    assert wrong[0, 0, 0, 0] == -1


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 19, 21])
def test_guarded_pairs_are_right_at_every_opset(opset: int) -> None:
    model = parse(PAIR, opset=opset, weights=PADS)
    GuardPooling().apply(model)
    assert run(model, {"x": MINUS_ONES})[0][0, 0, 0, 0] == 0


def test_a_pooling_that_pads_by_itself_is_left_alone_and_named() -> None:
    text = PAIR.replace("strides = [2,2]", "strides = [2,2], pads = [1,1,1,1]").replace("4,4]", "5,5]")
    model = parse(text, weights=PADS)
    report = GuardPooling().apply(model)
    assert report.left_alone == {"/MaxPool_1": "it pads by itself, after a Pad"}


def test_applying_it_twice_changes_nothing_more() -> None:
    model = parse(PAIR, weights=PADS)
    GuardPooling().apply(model)
    assert GuardPooling().apply(model).changed == 0

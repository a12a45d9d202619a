"""The rule for Pad and MaxPool against ONNX Runtime itself: it speaks where the numbers are wrong, and only there.

If the right answers come out everywhere, the runtime was mended and the rule may go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.targets.files import findings, write

MINUS_ONES = -np.ones((1, 1, 8, 8), np.float32)
POOL = "y = MaxPool <kernel_shape = [3,3], strides = [2,2]> (p)"
VALID = POOL.replace("[2,2]", '[2,2], auto_pad = "VALID"')
PADDED = POOL.replace("[2,2]", "[2,2], pads = [1,1,1,1]")
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1])


def body(nodes: str, *, more: str = "") -> str:
    return f"g (float[1,1,8,8] x) => (float[1,1,H,W] y{more}) {{ {nodes} }}"


def run(path: Path, *, optimise: bool, without: tuple[str, ...] = ()) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )
    return np.asarray(session.run(["y"], {"x": MINUS_ONES})[0])


@pytest.mark.parametrize(
    ("text", "weights", "opset", "wrong"),
    [
        (body(f"p = Pad (x, pads) {POOL}"), {"pads": PADS}, 17, True),
        (body(f"p = Pad (x, pads) {POOL}"), {"pads": np.array([0, 0, 0, 1, 0, 0, 0, 1])}, 11, True),
        (body(f"p = Pad <pads = [0,0,1,1,0,0,1,1]> (x) {POOL}"), {}, 10, True),
        (body(f"p = Pad (x, pads, v) {POOL}"), {"pads": PADS, "v": np.array(0, np.float32)}, 17, True),
        (body(f"p = Pad (x, pads) {PADDED}"), {"pads": PADS}, 17, True),
        (body(f"p = Pad (x, pads, v) {POOL}"), {"pads": PADS, "v": np.array(-np.inf, np.float32)}, 17, False),
        (body(f'p = Pad <mode = "reflect"> (x, pads) {POOL}'), {"pads": PADS}, 17, False),
        (body(f"p = Pad (x, pads) {POOL}"), {"pads": 0 * PADS}, 17, False),
        (body(f"p = Pad (x, pads) {POOL}"), {"pads": -PADS}, 17, False),
        (body(f"p = Pad (x, pads) {POOL}"), {"pads": np.array([0, 1, 1, 1, 0, 1, 1, 1])}, 17, False),
        (body(f"p = Pad (x, pads) {POOL} z = Relu (p)", more=", float[1,1,10,10] z"), {"pads": PADS}, 17, False),
        (body(f"p = Pad (x, pads) {POOL}", more=", float[1,1,10,10] p"), {"pads": PADS}, 17, False),
        (body(f"p = Pad (x, n, , a) {POOL}"), {"n": np.array([1, 1, 1, 1]), "a": np.array([2, 3])}, 18, False),
        (body(f"p = Pad (x, pads) {VALID}"), {"pads": PADS}, 17, False),
    ],
)
def test_it_speaks_where_onnx_runtime_is_wrong(
    tmp_path: Path, text: str, weights: dict[str, np.ndarray], opset: int, wrong: bool
) -> None:
    path = write(tmp_path / "m.onnx", text, opset=opset, weights=weights)
    right = run(path, optimise=False)
    assert np.array_equal(run(path, optimise=True), right) is not wrong
    found = findings(path, "onnxruntime")
    assert len(found) == wrong
    if wrong:
        assert (found[0].operator, found[0].effect) == ("MaxPool", "wrong")
        assert "a padded cell counts as minus infinity instead of 0" in found[0].problem
        assert "disabled_optimizers=['Pad_Fusion']" in found[0].fix
        assert np.array_equal(run(path, optimise=True, without=("Pad_Fusion",)), right)

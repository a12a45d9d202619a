"""Toy networks with pictures in front, and numpy's own preprocessing, for the tests of the passes at the head."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir

from tests.passes.graphs import Array, normal, parse, run

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SHARED = (0.5, 0.5, 0.5)
WEIGHTS = {"w": normal(4, 3, 3, 3, seed=1, scale=0.2), "b": normal(4, seed=3)}

PADDED = """g (float[N,3,9,8] x) => (float[N,4,?,?] y) {
    y = Conv <pads = [1, 1, 2, 1], strides = [2, 1]> (x, w, b)
}"""
UNPADDED = PADDED.replace("<pads = [1, 1, 2, 1], strides = [2, 1]>", "")
UNBIASED = UNPADDED.replace(", b)", ")")
PAD_NODE = """g (float[N,3,9,8] x) => (float[N,4,?,?] y) {
    p = Pad (x, pads)
    y = Conv (p, w, b)
}"""
OLD_PAD_NODE = PAD_NODE.replace("Pad (x, pads)", "Pad <pads = [0, 0, 1, 1, 0, 0, 1, 0]> (x)")
PADS = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 0], np.int64)}


def network(text: str, opset: int = 11, /, **more: Array) -> ir.Model:
    """Return a toy network with the weights that its text names."""
    known = {**WEIGHTS, **PADS, **more}
    read = {name: array for name, array in known.items() if re.search(rf"[(,] ?{name}[,)]", text)}
    return parse(text, opset=opset, weights=read)


def pixels(*shape: int, seed: int = 5) -> Array:
    """Return seeded random uint8 pictures, or whatever shape is asked for."""
    return np.random.default_rng(seed).integers(0, 256, shape or (2, 3, 9, 8), dtype=np.uint8)


def normalise(picture: Array, mean: object = MEAN, std: object = STD, value_range: float = 255) -> Array:
    """Return (x / r − mean) / std in float64, rounded once."""
    mean64, std64 = (np.array(numbers, np.float64).reshape(1, -1, 1, 1) for numbers in (mean, std))
    return ((picture.astype(np.float64) / value_range - mean64) / std64).astype(np.float32)


def error(actual: Array, expected: Array) -> float:
    """Return the largest difference in units of the expected range."""
    return float(np.abs(actual.astype(np.float64) - expected).max() / np.ptp(expected))


def outcome(model: ir.Model, picture: Array) -> Array:
    """Run the model at the default optimisation level, as users do."""
    return run(model, {"x": picture})[0]

"""The layers that lose most in int8, by the noise that rounding adds to the factors of a product.

    noise(layer) = Σ |x' − x|² / |x|²      over its inputs and its weight, x' rounded to their grids

Each term is measured on the tensors of the float file, so the noise of one layer does not hide in that of the next,
and one inference per image is enough for all layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping

import numpy as np
import onnx

from nfexport.quantization.calibration import Calibration
from nfexport.quantization.grids import Array, Grid, Grids
from nfexport.quantization.selection import PRODUCTS
from nfexport.runtimes import open_session

TOO_NOISY = 0.01
"""Noise over signal above which a layer stays in float: 20 dB. No layer of test_nfnet, nfnet_l0 or efficientnet_b0 is
above 0.007, and all are about equally noisy: the two worst in float reduce the output's error by 5 to 12 %, the eight
worst of test_nfnet by 27 %, for twice the bytes."""

MOST_BATCHES = 16
"""Batches that activations are measured on."""


def measure_noise(
    source: onnx.ModelProto, quantised: onnx.ModelProto, images: Calibration, kept: Container[str]
) -> dict[str, float]:
    """Return the relative noise power of each product that computes in int8, by name.

    quantised is the int8 form of source; kept are the products that stay in float, whose inputs may be rounded
    because another node reads them too."""
    grids = Grids(quantised)
    weights: dict[str, float] = {}
    reads: dict[str, list[tuple[str, Grid]]] = {}
    inputs = {node.name: list(node.input) for node in source.graph.node}
    stored = {tensor.name: tensor for tensor in source.graph.initializer}
    for node in quantised.graph.node:
        if node.op_type not in PRODUCTS or node.name in kept:
            continue
        for name, given in list(zip(inputs[node.name], node.input, strict=True))[:2]:
            behind = grids.behind(given)
            if behind is None:
                continue
            if name in stored:
                exact = onnx.numpy_helper.to_array(stored[name])
                ratio = _ratio(*_powers(exact, behind[1].dequantise(grids.array(behind[0]))))
                weights[node.name] = weights.get(node.name, 0.0) + ratio
            else:
                reads.setdefault(node.name, []).append((name, behind[1]))
    measured = _activations(source, {name: grid for pairs in reads.values() for name, grid in pairs}, images)
    names = dict.fromkeys([*weights, *reads])
    return {n: weights.get(n, 0.0) + sum(measured[name] for name, _ in reads.get(n, ())) for n in names}


def noisiest(noises: Mapping[str, float], count: int | None = None) -> list[str]:
    """Return the names of the `count` layers with the most noise, the noisiest first; without a count, of those
    with more than TOO_NOISY."""
    ordered = sorted(noises, key=lambda name: (-noises[name], name))
    return [name for name in ordered if noises[name] > TOO_NOISY] if count is None else ordered[:count]


def _activations(source: onnx.ModelProto, wanted: dict[str, Grid], images: Calibration) -> dict[str, float]:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(source)
    given = {value.name for value in source.graph.input}
    known = {value.name for value in source.graph.output} | given
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    session = open_session(exposed.SerializeToString())
    totals = {name: [0.0, 0.0] for name in wanted}
    for feeds in itertools.islice(images.batches(), MOST_BATCHES):
        tensors = {**feeds, **session.run(feeds)}
        for name, grid in wanted.items():
            signal, error = _powers(tensors[name], grid.round_trip(tensors[name]))
            totals[name][0] += signal
            totals[name][1] += error
    return {name: _ratio(*powers) for name, powers in totals.items()}


def _powers(exact: Array, rounded: Array) -> tuple[float, float]:
    exact = exact.astype(np.float64)
    return float(np.square(exact).sum()), float(np.square(rounded - exact).sum())


def _ratio(signal: float, error: float) -> float:
    return error / signal if signal else 0.0

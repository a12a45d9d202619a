"""Which nodes compute in int8, on graphs as text."""

from __future__ import annotations

from onnx import parser

from nfexport.quantization.noise import noisiest
from nfexport.quantization.selection import FIRST, LAST, NAMED, kept_in_float, quantisable

HEAD = """
<ir_version: 8, opset_import: ["" : 13]>
g (float[1, 4] x) => (float[1, 4] y)
<float[4, 4] w, float one, float s>
"""


def chosen(body: str, *patterns: str) -> list[str]:
    graph = parser.parse_model(f"{HEAD}{{ {body} }}").graph
    return quantisable(graph, kept_in_float(graph, patterns))


def test_silu_follows_its_layers_and_scores_stay_in_float() -> None:
    body = """
      [normalise] n = Mul (x, s)
      [first] a = MatMul (n, w)
      [gate] b = Sigmoid (a)
      [silu] c = Mul (a, b)
      [second] d = MatMul (c, w)
      [sum] e = Add (d, c)
      [third] f = MatMul (e, w)
      [flat] h = Relu (f)
      [last] i = MatMul (h, w)
      [scores] y = Mul (i, s)
    """
    # what normalises the image, what only the last layer reads, and what follows it, are in float
    assert chosen(body) == ["gate", "silu", "second", "sum", "third"]
    assert chosen(body, "th*") == ["gate", "silu", "second"]


def test_gelu_and_normalisation_stay_in_float_whole() -> None:
    body = """
      [first] a = MatMul (x, w)
      [second] b = MatMul (a, w)
      [half] c = Mul (b, s)
      [erf] d = Erf (c)
      [plus] e = Add (d, one)
      [gelu] f = Mul (b, e)
      [mean] m = ReduceMean <axes = [1]> (f)
      [eps] v = Add (m, s)
      [third] g = MatMul (v, w)
      [last] y = MatMul (g, w)
    """
    # half is dropped too: the only node that reads it is in float
    assert chosen(body) == ["second", "third"]


def test_reasons_are_told() -> None:
    body = "[a] b = MatMul (x, w) [b] c = MatMul (b, w) [c] d = MatMul (c, w) [d] y = MatMul (d, w)"
    graph = parser.parse_model(f"{HEAD}{{ {body} }}").graph
    assert kept_in_float(graph, ["c"]) == {"a": FIRST, "c": NAMED, "d": LAST}


def test_the_worst_are_those_asked_for_or_those_too_noisy() -> None:
    noises = {"quiet": 1e-4, "loud": 0.02, "louder": 0.5, "middling": 9e-3}
    assert noisiest(noises, 3) == ["louder", "loud", "middling"]
    assert noisiest(noises) == ["louder", "loud"]
    assert noisiest(noises, 0) == []

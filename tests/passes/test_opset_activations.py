"""Activation functions that an older opset spells out agree with the operator."""

from __future__ import annotations

import onnx
import pytest

from nfexport.passes.opset.rules import RULES
from nfexport.passes.opset.rules.rewrite_site import RewriteSite
from tests.passes import opset_agreement as agreement

ACTIVATIONS = {
    "Gelu": ("Gelu(x)", 20, ["Div", "Erf", "Add", "Mul", "Mul"]),
    "Gelu, tanh form": (
        'Gelu<approximate="tanh">(x)',
        20,
        ["Mul", "Mul", "Mul", "Add", "Mul", "Tanh", "Add", "Mul", "Mul"],
    ),
    "HardSwish": ("HardSwish(x)", 14, ["HardSigmoid", "Mul"]),
    "Mish": ("Mish(x)", 18, ["Softplus", "Tanh", "Mul"]),
    "Swish": ("Swish(x)", 24, ["Sigmoid", "Mul"]),
    "Swish with an alpha": ("Swish<alpha=1.5>(x)", 24, ["Mul", "Sigmoid", "Mul"]),
    "Celu": ("Celu(x)", 12, ["Elu"]),
    "Celu with an alpha": ("Celu<alpha=2.0>(x)", 12, ["Div", "Elu", "Mul"]),
}


@pytest.mark.parametrize(("node", "source", "expected"), ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_an_activation_is_spelt_out(node: str, source: int, expected: list[str]) -> None:
    text = f"g (float[N,3,4] x) => (float[N,3,4] y) {{ y = {node} }}"
    assert agreement.carried_operators(text, source, 9) == expected


def test_hard_swish_of_a_wrong_slope_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """HardSigmoid's own default, alpha = 0.2, is not HardSwish's 1/6."""

    def wrong_slope(site: RewriteSite) -> object:
        return [site.emit("Mul", site.x(), site.emit("HardSigmoid", site.x()))]

    before = agreement.parse("g (float[N,64] x) => (float[a,b] y) { y = HardSwish(x) }", 14)
    feeds = agreement.seeded_feeds(before)
    expected = agreement.run(before, feeds)
    right, _ = agreement.carry(before, 13)
    assert agreement.error(agreement.run(right, feeds), expected) <= agreement.ROUNDING
    monkeypatch.setitem(RULES, "HardSwish", wrong_slope)
    wrong, _ = agreement.carry(before, 13)
    assert agreement.error(agreement.run(wrong, feeds), expected) > 0.01


def test_initializers_are_constants_of_the_right_type() -> None:
    before = agreement.parse("g (double[N,4] x) => (double[a,b] y) { y = Gelu(x) }", 20)
    after, _ = agreement.carry(before, 17)
    assert {tensor.data_type for tensor in after.graph.initializer} == {onnx.TensorProto.DOUBLE}

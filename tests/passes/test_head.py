"""Softmax, Sigmoid and TopK behind a graph's logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.interface.head import AddHead, TopK
from nfexport.passes.opset.convert_opset import ConvertOpset
from tests.passes.graphs import Array, normal, operators, parse, run

BODY = """
g (float[batch, 4] x) => (float[batch, 6] z)
<float[4, 6] w> { z = MatMul(x, w) }
"""
X, W = normal(3, 4), normal(4, 6, seed=1)


def model(opset: int = 11) -> ir.Model:
    return parse(BODY, opset=opset, weights={"w": W})


def softmax(z: Array) -> Array:
    e: Array = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    probs: Array = e / e.sum(axis=1, keepdims=True)
    return probs


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18])
def test_probabilities_and_the_best_classes(opset: int) -> None:
    graph = model(opset)
    AddHead(probs="probs", topk=TopK(k=2, values="v", indices="i"), keep_logits=True).apply(graph)
    assert [value.name for value in graph.graph.outputs] == ["z", "probs", "v", "i"]
    z, probs, values, indices = run(graph, {"x": X})
    # two roundings of float32
    np.testing.assert_allclose(probs, softmax(X @ W), atol=2e-7)
    order = np.argsort(-softmax(z), axis=1)[:, :2]
    assert (indices == order).all()
    assert (values == np.take_along_axis(probs, order, axis=1)).all()


def test_the_logits_go_unless_kept() -> None:
    graph = model()
    AddHead(probs="z").apply(graph)
    assert [value.name for value in graph.graph.outputs] == ["z"]
    assert operators(graph) == ["MatMul", "Softmax"]
    np.testing.assert_allclose(run(graph, {"x": X})[0], softmax(X @ W), atol=2e-7)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18])
def test_a_probability_for_each_label_by_itself(opset: int) -> None:
    graph = model(opset)
    AddHead(sigmoid="labels", topk=TopK(k=2, values="v", indices="i")).apply(graph)
    assert operators(graph) == ["MatMul", "Softmax", "Sigmoid", "TopK"]
    labels, values, _ = run(graph, {"x": X})
    exact = X.astype(np.float64) @ W.astype(np.float64)
    # a rounding of the product and one of the sigmoid, both of float32
    np.testing.assert_allclose(labels, 1 / (1 + np.exp(-exact)), atol=4e-7)
    assert (np.abs(labels.sum(axis=1) - 1) > 0.1).all()
    np.testing.assert_allclose(values, -np.sort(-softmax(X @ W), axis=1)[:, :2], atol=2e-7)


def test_a_sigmoid_alone_adds_no_softmax() -> None:
    graph = model()
    report = AddHead(sigmoid="labels").apply(graph)
    assert operators(graph) == ["MatMul", "Sigmoid"]
    assert (report.changed, report.summary) == (1, "gives a probability for each label from 'z'")


def test_older_recipes_do_not_know_of_sigmoids() -> None:
    assert "sigmoid" not in AddHead(probs="probs").params
    assert AddHead(sigmoid="labels").params["sigmoid"] == "labels"


def test_it_survives_the_way_to_opset_9() -> None:
    graph = model(13)
    AddHead(topk=TopK(k=3, values="v", indices="i")).apply(graph)
    ConvertOpset(opset=9).apply(graph)
    assert run(graph, {"x": X})[1].shape == (3, 3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"probs": "w"}, "has a tensor or node named 'w' already; rename it"),
        ({"probs": "p", "logits": "y"}, "has no output 'y'; name one of 'z' with --logits"),
        ({"topk": TopK(k=7, values="v", indices="i")}, "there are 6 classes, fewer than the best 7"),
    ],
)
def test_what_cannot_be_is_refused(params: dict[str, Any], message: str) -> None:
    graph = model()
    with pytest.raises(PassError) as caught:
        AddHead(**params).apply(graph)
    assert message in str(caught.value)
    assert operators(graph) == ["MatMul"]


@pytest.mark.parametrize(("first", "operator"), [("probs", "Softmax"), ("sigmoid", "Sigmoid")])
@pytest.mark.parametrize("second", ["probs", "sigmoid"])
def test_a_second_time_is_refused(first: str, operator: str, second: str) -> None:
    graph = model()
    AddHead.from_params({first: "once"}).apply(graph)
    with pytest.raises(PassError, match=f"comes from a {operator} already; leave out --output"):
        AddHead.from_params({second: "again"}).apply(graph)

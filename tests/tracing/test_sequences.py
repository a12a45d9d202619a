"""The pieces of a split are taken from the tensor itself, and are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nfexport.tracing import TraceRequest, trace
from nfexport.tracing.request import image_input
from nfexport.tracing.sequences import take_pieces_directly
from tests.passes.graphs import normal, operators, parse, run

CHUNKS = """g (float[N,7] x) => (float[N,a] y, float[N,b] z)
<int64 k = {3}, int64 first = {0}, int64 last = {2}> {
    s = SplitToSequence<axis=-1>(x, k)
    y = SequenceAt(s, last)
    p = SequenceAt(s, first)
    z = Neg(p)
}"""
LENGTHS = """g (float[N,7] x) => (float[N,a] y)
<int64[3] k = {1, 4, 2}, int64 i = {1}> { s = SplitToSequence<axis=1>(x, k) y = SequenceAt(s, i) }"""
UNBOUND = """g (float[3,4] x) => (float[a] y)
<int64 i = {2}> { s = SplitToSequence<axis=0, keepdims=0>(x) y = SequenceAt(s, i) }"""
SINGLE = """g (float[3,4] x) => (float[a,b] y)
<int64 i = {1}> { s = SplitToSequence<axis=1>(x) y = SequenceAt(s, i) }"""
COUNTED = """g (float[N,7] x) => (int64 n, float[N,a] y) <int64 k = {3}, int64 i = {-1}> {
    s = SplitToSequence<axis=-1>(x, k)
    n = SequenceLength(s)
    y = SequenceAt(s, i)
}"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHUNKS, ["Slice", "Slice", "Neg"]),
        (LENGTHS, ["Slice"]),
        (UNBOUND, ["Gather"]),
        (SINGLE, ["Gather"]),
        (COUNTED, ["SplitToSequence", "SequenceLength", "SequenceAt"]),
    ],
    ids=["chunks", "lengths", "unbound", "single", "counted from the end"],
)
def test_each_piece_is_the_same(text: str, expected: list[str]) -> None:
    model, same = parse(text), parse(text)
    take_pieces_directly(model)
    assert operators(model) == expected
    assert [value.name for value in model.graph.outputs] == [value.name for value in same.graph.outputs]
    x = normal(3, 4) if "[3,4]" in text else normal(2, 7)
    for given, wanted in zip(run(model, {"x": x}), run(same, {"x": x}), strict=True):
        np.testing.assert_array_equal(given, wanted)


class Gated(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = x.chunk(2, dim=-1)
        return torch.sigmoid(gate) * value


@pytest.mark.slow
def test_dynamo_leaves_no_sequence() -> None:
    image = image_input("input", batch="dynamic", channels=3, image_size=(4, 6))
    request = TraceRequest(inputs=(image,), opset=18, output_names=("output",), output_shapes={"output": ("batch",)})
    model = trace(Gated(), request, "dynamo")
    assert not [node.op_type for node in model.graph.all_nodes() if "Sequence" in node.op_type]
    for index, node in enumerate(model.graph):
        node.name = f"/{index}"  # a later pass numbers nodes of one module
    x = normal(2, 3, 4, 6)
    np.testing.assert_allclose(run(model, {"input": x})[0], Gated()(torch.from_numpy(x)).numpy(), rtol=1e-6)

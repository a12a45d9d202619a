"""The proof that an int8 graph is the float one but for rounding: it holds, and fails for what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import nfexport
from nfexport.errors import PassError
from nfexport.quantization.equivalence import prove_equivalence

FLOAT = """
<ir_version: 8, opset_import: ["" : 13]>
toy (float[n, 2] x) => (float[n, 2] y)
<float[2, 2] w = {1.27, -0.5, 0.3, 0.127}>
{
  [product] h = MatMul (x, w)
  [clip] y = Relu (h)
}
"""

INT8 = """
<ir_version: 8, opset_import: ["" : 13]>
toy (float[n, 2] x) => (float[n, 2] y)
<float s = {0.01}, uint8 z = {SIGNED}, float o = {0.02}, uint8 low = {LOW}, int8[2, 2] q = {127, -50, 30, 13},
 float t = {0.01}, int8 zero = {0}>
{
  [qa] a = QuantizeLinear (x, s, z)
  [qb] b = DequantizeLinear (a, s, z)
  [qw] w = DequantizeLinear (q, t, zero)
  [product] h = MatMul (b, w)
  [qc] c = QuantizeLinear (h, o, low)
  [qy] y = DequantizeLinear (c, o, low)
}
"""


def graphs(**numbers: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    text = INT8.replace("SIGNED", "128").replace("LOW", str(numbers.get("low", 0)))
    return parser.parse_model(FLOAT), parser.parse_model(text)


def test_it_holds_for_the_float_graph_with_rounding_in_it() -> None:
    prove_equivalence(*graphs())


def test_a_relu_may_go_only_where_rounding_clips() -> None:
    with pytest.raises(PassError, match=r"the node 'clip' \(Relu\) is missing, and '.*' has a wider range"):
        prove_equivalence(*graphs(low=1))


def weight(value: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        stored = next(entry for entry in model.graph.initializer if entry.name == "q")
        array = numpy_helper.to_array(stored).copy()
        array[1, 1] = value
        stored.CopyFrom(numpy_helper.from_array(array, "q"))

    return change


def reads_the_input_itself(model: onnx.ModelProto) -> None:
    model.graph.node[3].input[0] = "w"


def one_node_more(model: onnx.ModelProto) -> None:
    model.graph.node.insert(3, onnx.helper.make_node("Neg", ["b"], ["d"], name="more"))


def another_operator(model: onnx.ModelProto) -> None:
    model.graph.node[3].op_type = "Mul"


def two_scales(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.011, np.float32), "u"))
    model.graph.node[1].input[1] = "u"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (weight(14), "'w' of the node 'product' holds different numbers"),  # 0.14 for 0.127: more than half of 0.01
        (reads_the_input_itself, "the node 'product' does not read 'x'"),
        (one_node_more, "it has an extra node, 'more' .Neg."),
        (another_operator, "the node 'product' differs"),
        (two_scales, "'b' is quantised by one scale and dequantised by another"),
    ],
)
def test_it_fails_for_anything_else(change: Callable[[onnx.ModelProto], None], why: str) -> None:
    source, quantised = graphs()
    change(quantised)
    with pytest.raises(PassError, match=why):
        prove_equivalence(source, quantised)


def test_it_holds_for_a_real_network(quantised: nfexport.QuantizeResult) -> None:
    prove_equivalence(onnx.load(quantised.source), onnx.load(quantised.path))

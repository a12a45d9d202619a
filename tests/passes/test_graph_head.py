"""Where the image enters a graph, and the graphs of which that cannot be said."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.front.preprocessing.graph_head import find_head
from tests.passes.graphs import parse
from tests.passes.preprocessing import PADDED, network

FORMED = """g (uint8[N,H,W,3] x) => (float[N,3,H,W] y) {
    c = Cast <to = 1> (x)
    t = Transpose <perm = [0, 3, 1, 2]> (c)
    y = Relu (t)
}"""


def test_the_picture_lies_behind_what_changes_the_form_of_the_input() -> None:
    head = find_head(parse(FORMED))
    assert (head.entry.name, head.image.name, head.channels, head.dtype) == ("x", "t", 3, ir.DataType.FLOAT)
    assert [str(size) for size in head.shape] == ["N", "3", "H", "W"]
    assert [node.op_type for node in head.form] == ["Cast", "Transpose"]


def test_without_it_the_input_is_the_picture() -> None:
    head = find_head(network(PADDED))
    assert head.image is head.entry
    assert head.form == ()


REFUSED = {
    "two inputs": (
        "g (float[1,3,4,4] a, float[1,3,4,4] b) => (float[1,3,4,4] y) { y = Add (a, b) }",
        r"the graph has 2 inputs \('a', 'b'\), and preprocessing needs exactly one, the image; leave the prepro",
    ),
    "no input": ("g () => (float[1] y) { y = Constant <value_floats = [1.0]> () }", "the graph has no input, and"),
    "rank 2": (
        "g (float[1,3] x) => (float[1,3] y) { y = Relu (x) }",
        "input 'x' has rank 2, and a batch of images has rank 4",
    ),
    "no rank": ("g (float x) => (float y) { y = Relu (x) }", "input 'x' has rank 0"),
    "integers": (
        "g (int64[1,3,4,4] x) => (int64[1,3,4,4] y) { y = Neg (x) }",
        "input 'x' takes INT64, and the graph does not cast it to float",
    ),
    "unread": (
        "g (float[1,3,4,4] x) => (float[1] y) { y = Constant <value_floats = [1.0]> () }",
        "nothing reads input 'x'; leave the preprocessing to the caller",
    ),
    "channels unknown": (
        "g (float[N,C,4,4] x) => (float[N,C,4,4] y) { y = Relu (x) }",
        "the channel axis of input 'x' has no fixed size; give the input a fixed shape first",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_graphs_without_a_clear_head_are_refused(text: str, message: str) -> None:
    with pytest.raises(PassError, match=message):
        find_head(parse(text, opset=13))


def test_an_input_that_is_an_output_is_refused() -> None:
    model = network(PADDED)
    model.graph.outputs.append(model.graph.inputs[0])
    with pytest.raises(PassError, match="input 'x' is an output of the graph too; remove that output first"):
        find_head(model)


@pytest.mark.parametrize("operator", ["If", "Loop"])
def test_an_input_that_a_body_reads_is_refused(operator: str) -> None:
    info = onnx.helper.make_tensor_value_info
    picture = [1, 3, 4, 4]
    inner = onnx.helper.make_node("Relu", ["x"], ["r"], name="inner")
    result = info("r", onnx.TensorProto.FLOAT, picture)
    flag = onnx.numpy_helper.from_array(np.array(True), "flag")
    if operator == "If":
        body = onnx.helper.make_graph([inner], "body", [], [result])
        node = onnx.helper.make_node("If", ["flag"], ["y"], then_branch=body, else_branch=body)
    else:
        names = (("i", onnx.TensorProto.INT64), ("go", onnx.TensorProto.BOOL))
        inputs = [info(name, kind, []) for name, kind in names]
        keep = onnx.helper.make_node("Identity", ["go"], ["going"])
        outputs = [info("going", onnx.TensorProto.BOOL, []), result]
        body = onnx.helper.make_graph([keep, inner], "body", inputs, outputs)
        node = onnx.helper.make_node("Loop", ["", "flag"], ["y"], body=body)
    entry, output = (info(name, onnx.TensorProto.FLOAT, picture if name == "x" else None) for name in "xy")
    graph = onnx.helper.make_graph([node], "g", [entry], [output], initializer=[flag])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    with pytest.raises(PassError, match="node 'inner', inside the body of an If or Loop, reads input 'x'"):
        find_head(ir.from_proto(proto))

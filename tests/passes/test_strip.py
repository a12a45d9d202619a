"""What is written for debuggers goes; the graph and what its readers need stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.passes.finish.strip import Strip
from nfexport.recipe.opsets import newest_opset
from tests.passes.graphs import normal, parse, run

GRAPH = """g (bool c, float[2] x) => (float[2] y) {
    k = Constant <value = float[2] {1.0, 2.0}> ()
    d = Mul (x, w)
    y = If (c) <
        then_branch = t () => (float[2] t1) { t1 = Add (d, k) },
        else_branch = e () => (float[2] e1) { e1 = Neg (d) }>
}"""
NOTE = "a note of the exporter that nobody reads"


def annotated(opset: int = 17) -> onnx.ModelProto:
    """Return the graph with a note in every place that has room for one."""
    proto = ir.to_proto(parse(GRAPH, opset=opset, weights={"w": normal(2)}))
    proto.doc_string = NOTE
    proto.producer_name = "pytorch"
    for key in ("nfexport.recipe", "names", "pkg.torch.export.ExportedProgram.graph_signature"):
        proto.metadata_props.add(key=key, value="{}")
    branch = proto.graph.node[2].attribute[0]
    graphs = [proto.graph, branch.g]
    places = [*graphs, branch, branch.g.node[0], *proto.graph.node, *proto.graph.input, *proto.graph.output]
    places += [*proto.graph.initializer, proto.graph.node[0].attribute[0].t]
    for place in places:
        place.doc_string = NOTE
        if not isinstance(place, onnx.AttributeProto):
            place.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=NOTE)
    return proto


@pytest.mark.parametrize("opset", [11, 13, 17, 18, newest_opset()])
def test_no_note_is_left_and_the_numbers_stay(opset: int) -> None:
    model = ir.from_proto(annotated(opset))
    feeds = {"c": np.array(True), "x": normal(2, seed=1)}
    expected = run(parse(GRAPH, opset=opset, weights={"w": normal(2)}), feeds)
    report = Strip().apply(model)
    proto = ir.to_proto(model)
    assert NOTE.encode() not in proto.SerializeToString()
    np.testing.assert_array_equal(run(model, feeds), expected)
    assert report.changed == 25
    assert report.summary.startswith("13 doc strings and 12 metadata entries removed, ")


def test_what_others_read_stays() -> None:
    model = ir.from_proto(annotated())
    report = Strip().apply(model)
    assert model.metadata_props == {"nfexport.recipe": "{}", "names": "{}"}
    assert report.summary.endswith("; model metadata kept: names")
    assert report.facts["kept"] == ["names"]
    assert model.producer_name == "pytorch"


def test_types_and_shapes_stay() -> None:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(annotated()))
    before = [(info.name, info.type) for info in ir.to_proto(model).graph.value_info]
    Strip().apply(model)
    after = ir.to_proto(model).graph.value_info
    assert [(info.name, info.type) for info in after] == before
    assert before


def test_the_bytes_are_those_of_the_file_without_its_weights() -> None:
    model = ir.from_proto(annotated())
    whole = ir.to_proto(model).ByteSize()
    report = Strip().apply(model)
    assert report.facts["bytes_saved"] == whole - ir.to_proto(model).ByteSize() > 23 * len(NOTE)
    heavy = ir.from_proto(annotated())
    weight = heavy.graph.initializers["w"]
    weight.const_value = ir.Tensor(np.zeros(1 << 20, np.float32), name="w", doc_string=NOTE)
    assert 0 < Strip().apply(heavy).facts["bytes_after"] < 2000
    assert weight.const_value is not None
    assert list(heavy.graph.initializers) == ["w"]


def test_local_functions_lose_their_notes_too() -> None:
    body = onnx.helper.make_node("Relu", ["a"], ["b"], doc_string=NOTE)
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("local", 1)]
    function = onnx.helper.make_function("local", "F", ["a"], ["b"], [body], imports[:1])
    function.doc_string = NOTE
    node = onnx.helper.make_node("F", ["x"], ["y"], domain="local")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    model = ir.from_proto(onnx.helper.make_model(graph, functions=[function], opset_imports=imports, ir_version=8))
    assert Strip().apply(model).changed == 2
    assert NOTE.encode() not in ir.to_proto(model).SerializeToString()


def test_a_second_time_nothing_is_left_to_do() -> None:
    model = ir.from_proto(annotated())
    Strip().apply(model)
    before = ir.to_proto(model).SerializeToString()
    report = Strip().apply(model)
    assert (report.changed, report.facts["bytes_saved"]) == (0, 0)
    assert ir.to_proto(model).SerializeToString() == before

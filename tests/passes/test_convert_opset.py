"""What convert-opset promises of a whole graph: all or nothing, names, constants, versions, bodies."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.errors import PassError
from nfexport.passes.opset.convert_opset import ConvertOpset
from tests.passes import opset_agreement as agreement

NETWORK = """g (float[N,4,9,9] image) => (float[N,3] probs)
  <int64[2] axes = {-1, -2}, float low = {0}, float high = {6}>
  {
    ["/stem/Conv"] a = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(image, w)
    ["/stem/Clip"] b = Clip(a, low, high)
    ["/stem/HardSwish"] c = HardSwish(b)
    ["/stem/pool"] d = AveragePool<kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1>(c)
    ["/stem/norm"] e = LayerNormalization<axis=-1>(d, scale)
    ["/head/pool"] f = ReduceMean<keepdims=0>(e, axes)
    ["/head/fc"] h = Gemm<transB=1>(f, fc)
    ["/head/Softmax"] probs = Softmax<axis=1>(h)
  }"""


def network(opset: int = 18) -> onnx.ModelProto:
    """Return a small classifier with seeded weights."""
    model = agreement.parse(NETWORK, opset)
    rng = np.random.default_rng(1)
    for name, shape in (("w", (4, 4, 3, 3)), ("fc", (3, 4)), ("scale", (5,))):
        numbers = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(numbers, name))
    return model


@pytest.mark.parametrize("opset", range(9, 27))
def test_a_classifier_at_every_opset(opset: int) -> None:
    before = network()
    onnx.checker.check_model(before, full_check=True)
    after, report = agreement.carry(before, opset)
    feeds = agreement.seeded_feeds(before)
    assert agreement.error(agreement.run(after, feeds), agreement.run(before, feeds)) <= agreement.ROUNDING
    assert report.facts["from"] == 18
    assert report.facts["to"] == opset
    assert after.ir_version == onnx.helper.find_min_ir_version_for(after.opset_import)
    again, second = agreement.carry(after, opset)
    assert second.changed == 0
    assert again == after


def test_down_and_up_again() -> None:
    before = network()
    feeds = agreement.seeded_feeds(before)
    model = before
    for opset in (13, 9, 12, 18, 26):
        model, _ = agreement.carry(model, opset)
    assert agreement.error(agreement.run(model, feeds), agreement.run(before, feeds)) <= agreement.ROUNDING


def test_new_nodes_are_named_after_the_old_one_and_inherit_from_it() -> None:
    before = network()
    for node in before.graph.node:
        node.doc_string = f"doc of {node.name}"
        node.metadata_props.add(key="module", value=node.name)
    after, report = agreement.carry(before, 11)
    names = [node.name for node in after.graph.node]
    assert len(set(names)) == len(names)
    assert names[:4] == ["/stem/Conv", "/stem/Clip", "/stem/HardSwish/HardSigmoid", "/stem/HardSwish/Mul"]
    for node in after.graph.node:
        (module,) = (prop.value for prop in node.metadata_props)
        assert node.name.startswith(module)
        assert node.doc_string == f"doc of {module}"
    assert report.facts["operators"] == {"HardSwish": 1, "LayerNormalization": 1, "ReduceMean": 1}


def test_outputs_keep_their_names_and_new_values_have_shapes() -> None:
    after, _ = agreement.carry(network(), 9)
    assert [value.name for value in after.graph.output] == ["probs"]
    values = [name for node in after.graph.node for name in node.output]
    assert len(set(values)) == len(values)
    assert {"a", "b", "c", "d", "e", "f", "h"} <= set(values)
    known = {value.name for value in [*after.graph.value_info, *after.graph.output]}
    assert "/stem/HardSwish/HardSigmoid_output_0" in known


def test_new_constants_are_initializers_and_unread_ones_go() -> None:
    before = network()
    before.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "idle"))
    after, _ = agreement.carry(before, 9)
    names = {tensor.name for tensor in after.graph.initializer}
    assert "Constant" not in agreement.operators(after)
    assert not {"axes", "low", "high"} & names
    # not this pass's business
    assert "idle" in names
    assert "/stem/norm/Pow/Y" in names


def test_constant_nodes_serve_as_constants_and_go_when_unread() -> None:
    text = """g (float[N,4] x) => (float[a,b] y)
              { axes = Constant<value_ints=[-1]>() y = ReduceMean(x, axes) }"""
    assert agreement.carried_operators(text, 18, 9) == ["ReduceMean"]


def test_all_or_nothing() -> None:
    text = """g (float[N,4] x) => (float[a,b] y)
              { ["/gelu"] g = Gelu(x) ["/a"] t = Trilu(g) ["/b"] y = Trilu(t) }"""
    model = ir.serde.deserialize_model(agreement.parse(text, 20))
    before = ir.serde.serialize_model(model)
    with pytest.raises(PassError, match=r"^node '/a' .*\(1 more node has none\); opset 14 is the nearest"):
        ConvertOpset(opset=11).apply(model)
    assert ir.serde.serialize_model(model) == before


def test_bodies_are_carried_too() -> None:
    text = """g (float[2,4] x, bool c) => (float[a,b] y) {
        g = Gelu(x)
        y = If<
            then_branch = t () => (float[a,b] u) { u = HardSwish(g) },
            else_branch = e () => (float[a,b] v) <int64[1] z = {1}> { m = ReduceMean(g, z) v = Mul(g, m) }
        >(c)
    }"""
    before = agreement.parse(text, 20)
    after, _ = agreement.carry(before, 11)
    feeds = agreement.seeded_feeds(before)
    for choice in (True, False):
        feeds["c"] = np.array(choice)
        error = agreement.error(agreement.run(after, feeds), agreement.run(before, feeds))
        assert error <= agreement.ROUNDING


def test_a_refusal_in_a_body_names_the_node() -> None:
    text = """g (float[2,4] x, bool c) => (float[a,b] y) {
        y = If<then_branch = t () => (float[a,b] u) { ["/body/t"] u = Trilu(x) },
               else_branch = e () => (float[a,b] v) { v = Neg(x) }>(c)
    }"""
    model = ir.serde.deserialize_model(agreement.parse(text, 18))
    with pytest.raises(PassError, match=r"node '/body/t' \(Trilu\)"):
        ConvertOpset(opset=13).apply(model)


def test_other_domains_are_left_alone_and_named() -> None:
    text = 'g (float[N,4] x) => (float[a,b] y) { ["/mine"] t = custom.Mine(x) ["/act"] y = HardSwish(t) }'
    model = ir.serde.deserialize_model(agreement.parse(text, 18))
    report = ConvertOpset(opset=13).apply(model)
    assert report.left_alone == {"/mine": "an operator of the domain 'custom', which has its own version"}
    assert model.graph.opset_imports == {"": 13, "custom": 1}
    assert [node.op_type for node in model.graph] == ["Mine", "HardSigmoid", "Mul"]
    assert model.ir_version == 7


@pytest.mark.parametrize("opset", [8, 99])
def test_an_opset_out_of_range(opset: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(PassError, match=f"^opset {opset} is outside 9..{newest}; choose one from 9 to {newest}$"):
        ConvertOpset(opset=opset).apply(ir.serde.deserialize_model(network()))


def test_a_file_that_cannot_be_read() -> None:
    model = ir.serde.deserialize_model(network())
    model.graph.opset_imports[""] = 6
    with pytest.raises(PassError, match="the file is of opset 6, and only 7 to"):
        ConvertOpset(opset=11).apply(model)
    del model.graph.opset_imports[""]
    with pytest.raises(PassError, match="imports no opset of the default domain"):
        ConvertOpset(opset=11).apply(model)


def test_functions_of_the_file_are_refused() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "mine": 1]>
        g (float[N] x) => (float[N] y) { y = mine.twice(x) }
        <domain: "mine", opset_import: ["": 18]> twice (a) => (b) { b = Add(a, a) }""")
    with pytest.raises(PassError, match=r"a function of its own, 'twice', .*; inline its functions first"):
        ConvertOpset(opset=13).apply(ir.serde.deserialize_model(model))


def test_shapes_that_the_file_lacks_are_inferred() -> None:
    """Softmax over a middle axis needs the rank of t, which no value_info states."""
    text = """g (float[N,3,4] x) => (float[a,b,c] y) { t = Relu(x) y = Softmax<axis=1>(t) }"""
    assert agreement.carried_operators(text, 13, 11) == ["Relu", "Transpose", "Softmax", "Transpose"]


def test_names_stay_unique_when_they_are_taken() -> None:
    text = """g (float[N,4] x) => (float[a,b] y) {
        ["/act"] s = HardSwish(x) ["/act"] t = HardSwish(s) ["/act/Mul"] y = Neg(t) }"""
    before = agreement.parse(text, 14)
    after, _ = agreement.carry(before, 13)
    for names in ([n.name for n in after.graph.node], [o for n in after.graph.node for o in n.output]):
        assert all(a != b for a, b in itertools.combinations(names, 2))

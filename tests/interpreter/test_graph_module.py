"""GraphModule: memory, segments, control flow, types, and what it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from nfexport.errors import InputError, OnnxFileError
from nfexport.interpreter import GraphModule, uncovered_operators
from nfexport.verification.torch_reference import evaluate, in_float64
from tests.passes.graphs import normal, parse

LINEAR = "g (float[N, 16] x) => (float[N, 16] y) { h = MatMul(x, w) s = Sin(h) y = Add(s, b) }"


def linear() -> GraphModule:
    weights = {"w": normal(16, 16), "b": normal(16, seed=1), "unused.name/1": normal(4)}
    return GraphModule(parse(LINEAR, opset=13, weights=weights))


def test_it_starts_and_stops_at_any_tensor() -> None:
    weights = {"w": normal(16, 16), "b": normal(16, seed=1)}
    model = parse(LINEAR, opset=13, weights=weights)
    x = torch.from_numpy(normal(3, 16, seed=2))
    whole = GraphModule(model)
    first, second = GraphModule(model, outputs=["h"]), GraphModule(model, inputs=["h"], outputs=["s", "y"])
    assert (whole.input_names, whole.output_names) == (("x",), ("y",))
    assert (second.input_names, second.output_names) == (("h",), ("s", "y"))
    (y,), (h,) = whole(x), first(x)
    torch.testing.assert_close(h, x @ torch.from_numpy(weights["w"]))
    s, end = second(h)
    torch.testing.assert_close(s, torch.sin(h))
    assert torch.equal(end, y)
    with pytest.raises(InputError, match="has no tensor 'z'"):
        GraphModule(model, outputs=["z"])


def test_weights_are_parameters_and_share_memory_with_the_model() -> None:
    module = linear()
    names = {module.file_names[name]: value for name, value in module.named_parameters()}
    assert set(names) == {"w", "b"}
    assert [module.file_names[name] for name, _ in module.named_buffers()] == ["unused.name/1"]
    assert not module.training
    assert not any(value.requires_grad for value in module.parameters())
    source = parse(LINEAR, opset=13, weights={"w": normal(16, 16), "b": normal(16, seed=1)})
    held = normal(16, 16)
    source.graph.initializers["w"].const_value = ir.Tensor(held, name="w")
    (weight,) = [p for n, p in GraphModule(source).named_parameters() if n.endswith("w")]
    assert weight.data_ptr() == held.ctypes.data


def test_under_in_float64_a_cast_to_float_does_not_round() -> None:
    model = parse(
        "g (float[N] x) => (float[N] y) { d = Cast<to=11>(x) t = Mul(d, k) y = Cast<to=1>(t) }",
        opset=13,
        weights={"k": np.float64(1 / 3)},
    )
    x = np.ones(2, np.float32)
    module = GraphModule(model)
    assert module(torch.from_numpy(x))[0].dtype == torch.float32
    with in_float64():
        (y,) = module(torch.from_numpy(x).double())
    assert float(y[0]) == 1 / 3


@pytest.mark.parametrize("widen", [True, False])
def test_half_precision_is_carried_out_or_widened(widen: bool) -> None:
    model = parse("g (float[N] x) => (float[N] y) { h = Cast<to=10>(x) s = Mul(h, h) y = Cast<to=1>(s) }", opset=13)
    x = normal(64)
    result = evaluate(GraphModule(model, widen=widen), x, ["y"]).expected["y"]
    half = (x.astype(np.float16) * x.astype(np.float16)).astype(np.float64)
    np.testing.assert_array_equal(result, x.astype(np.float64) ** 2 if widen else half)


def test_a_loop_reads_values_from_around_it() -> None:
    body = onnx.parser.parse_graph(
        "b (int64 i, bool c, float[2] a) => (bool d, float[2] e, float[2] f)"
        "{ d = Identity(c) e = Add(a, outer) f = Mul(e, outer) }"
    )
    model = parse(
        "g (float[2] x) => (float[2] y, float[3, 2] z) { outer = Neg(x) y, z = Loop(n, , x) }",
        opset=13,
        weights={"n": np.int64(3)},
    )
    proto = onnx.ModelProto.FromString(_with_body(model, body))
    x = np.array([1.0, 2.0], np.float32)
    y, z = GraphModule.from_file(proto)(torch.from_numpy(x))
    np.testing.assert_array_equal(y, x - 3 * x)
    np.testing.assert_array_equal(z, [(x - n * x) * -x for n in (1, 2, 3)])


def _with_body(model: ir.Model, body: onnx.GraphProto) -> bytes:
    proto = ir.to_proto(model)
    proto.graph.node[1].attribute.append(onnx.helper.make_attribute("body", body))
    return bytes(proto.SerializeToString())


def test_an_operator_without_a_rule_is_named() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Bernoulli(x) }", opset=15)
    assert uncovered_operators(model) == ("Bernoulli",)
    with pytest.raises(OnnxFileError, match=r"'/Bernoulli_0' is a Bernoulli of the domain 'ai.onnx', opset 15"):
        GraphModule(model)
    other = parse("g (float[2] x) => (float[2] y) { h = Relu(x) y = Bernoulli(h) }", opset=15)
    assert GraphModule(other, outputs=["h"]).output_names == ("h",)  # what is not computed may be anything


def test_a_function_of_the_schema_stands_in_for_a_rule() -> None:
    model = parse("g (int64 n) => (float[N] y) { y = HannWindow<periodic=0>(n) }", opset=17)
    assert uncovered_operators(model) == ()
    (y,) = GraphModule(model)(torch.tensor(8))
    torch.testing.assert_close(y, torch.hann_window(8, periodic=False))


def test_shapes_that_do_not_fit_name_the_node() -> None:
    with pytest.raises(OnnxFileError, match=r"'/MatMul_0' \(MatMul\) cannot be computed"):
        linear()(torch.zeros(3, 15))
    with pytest.raises(ValueError, match="takes 1 inputs, not 2"):
        linear()(torch.zeros(3, 16), torch.zeros(1))


def test_softmax_of_old_files_is_over_all_later_axes() -> None:
    text = "g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax<axis=1>(x) }"
    x = torch.from_numpy(normal(2, 3, 4))
    (old,), (new,) = GraphModule(parse(text, opset=11))(x), GraphModule(parse(text, opset=13))(x)
    torch.testing.assert_close(old, torch.softmax(x.reshape(2, 12), 1).reshape(2, 3, 4))
    torch.testing.assert_close(new, torch.softmax(x, 1))
    assert not torch.allclose(old, new)


def test_weights_and_inputs_of_half_precision_are_widened_from_what_is_stored() -> None:
    weight, x = normal(16, 16).astype(np.float16), normal(3, 16, seed=1).astype(np.float16)
    text = "g (float16[3, 16] x) => (float16[3, 16] y) { y = MatMul(x, w) }"
    module = GraphModule(parse(text, opset=13, weights={"w": weight}), widen=True)
    assert [p.dtype for p in module.parameters()] == [torch.float16]
    with in_float64():
        (y,) = module(torch.from_numpy(x))
    np.testing.assert_allclose(y, x.astype(np.float64) @ weight.astype(np.float64), rtol=0, atol=1e-13)

"""What is counted at, what cannot be counted, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nfexport.errors import InputError, OnnxFileError
from nfexport.graph.header import skim
from nfexport.inspection.cost import Rule, count_cost
from tests.inspection.cost.graphs import PICTURE, cost_of, floats, model, node, numbers
from tests.inspection.files import network

RELU = [node("Relu", "image", "out")]


def test_a_network_from_a_file_and_from_a_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(network().SerializeToString())
    cost = count_cost(path)
    conv, classifier = 4 * 36 * 27, 144 * 5
    assert cost.inputs == {"image": (1, 3, 8, 8)}
    assert (cost.macs, cost.activations, cost.parameters) == (conv + classifier, 4 * 36 + 5, 837)
    assert cost.flops == 2 * (conv + classifier) + 4 * 36 + 5 + 2 * 4 * 36
    assert [layer.op for layer in cost.layers] == ["Conv", "Relu", "Gemm"]
    assert all(isinstance(total, int) for total in (cost.macs, cost.flops, cost.activations, cost.parameters))
    assert count_cost(str(path)) == cost == count_cost(network())


def test_a_model_is_left_as_it_is() -> None:
    model = network()
    before = model.SerializeToString()
    count_cost(model, batch=3)
    assert model.SerializeToString() == before


def test_the_cost_is_strict_json() -> None:
    cost = count_cost(network())
    facts = cost.to_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["layers"][0] == {
        "name": "x",
        "op": "Conv",
        "shape": [1, 4, 6, 6],
        "macs": 3888,
        "flops": 7920,
        "activations": 144,
        "parameters": 112,
    }
    assert "layers" not in cost.to_dict(layers=False)


def test_a_batch_multiplies_all_but_parameters() -> None:
    conv = [node("Conv", "image w", "out")], [floats("w", 4, 3, 3, 3)]
    one, three = cost_of(*conv), cost_of(*conv, batch=3)
    assert (three.macs, three.activations, three.parameters) == (3 * one.macs, 3 * one.activations, one.parameters)
    assert three.inputs == {"image": (3, 3, 8, 8)}


def test_a_fixed_batch_is_the_files_own() -> None:
    assert cost_of(RELU, shape=(4, 3, 8, 8)).flops == 4 * 2 * PICTURE
    with pytest.raises(InputError, match="the file fixes the batch of input 'image' at 4; leave --batch out"):
        cost_of(RELU, shape=(4, 3, 8, 8), batch=2)
    with pytest.raises(InputError, match="the batch size is 0, and must be at least 1"):
        cost_of(RELU, batch=0)


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), ("n", 3, None, None), ("n", "h", "w", 3), (0, 3, -1, -1)])
def test_a_symbolic_size_takes_the_one_that_is_asked_for(shape: tuple[str | int | None, ...]) -> None:
    cost = cost_of(RELU, shape=shape, size=(4, 6))
    assert sorted(cost.inputs["image"]) == [1, 3, 4, 6]
    assert cost.flops == 2 * 3 * 4 * 6


def test_a_size_that_nothing_tells_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        cost_of(RELU, shape=("n", 3, "h", "w"))
    assert str(caught.value) == "dim 2 of input 'image' (h) has no size, and none was given; pass --size HxW"
    with pytest.raises(InputError, match=r"dim 1 of input 'image' \(length\) .* export the file with a fixed shape"):
        cost_of(RELU, shape=("n", "length", 64))
    with pytest.raises(InputError, match="states no shape"):
        cost_of(RELU, shape=None)


def test_a_size_other_than_the_fixed_one_is_an_error() -> None:
    with pytest.raises(InputError, match="the file fixes the size of input 'image' at 8 × 8; leave --size out"):
        cost_of(RELU, size=(16, 16))
    assert cost_of(RELU, size=(8, 8)).flops == 2 * PICTURE


def test_symbols_of_other_values_are_no_contradiction() -> None:
    """A file states its shapes for a symbolic batch; what it calls 'batch * 4' is inferred anew."""
    proto = model([node("Reshape", "image s", "x"), node("Relu", "x", "out")], [numbers("s", -1, 48, dtype=np.int64)])
    proto.graph.value_info.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch * 4", 48]))
    assert count_cost(proto, batch=2).flops == 2 * 2 * PICTURE


def test_a_reshape_target_behind_an_identity_is_seen() -> None:
    nodes = [node("Identity", "s", "t"), node("Reshape", "image t", "x"), node("Relu", "x", "out")]
    cost = cost_of(nodes, [numbers("s", 1, 192, dtype=np.int64)])
    assert (cost.flops, dict(cost.uncounted)) == (2 * PICTURE, {})


def test_nodes_without_a_shape_are_reported_and_the_rest_is_counted() -> None:
    nodes = [
        node("Relu", "image", "a"),
        node("NonZero", "a", "b"),
        node("Cast", "b", "c", to=1),
        node("Add", "c c", "d"),
        node("Add", "d d", "e"),
        node("MatMul", "e e", "out"),
    ]
    cost = cost_of(nodes)
    assert cost.flops == 2 * PICTURE
    assert list(cost.uncounted.items()) == [("Add", 2), ("MatMul", 1)]
    assert dict(cost_of(nodes, rule="timm").uncounted) == {"MatMul": 1}


@pytest.mark.parametrize("rule", ["omz", "timm"])
def test_operators_that_neither_rule_knows_are_reported(rule: Rule) -> None:
    branch = helper.make_graph(
        [node("Conv", "image w", "y")], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    nodes = [
        node("Mystery", "image", "a", domain="com.example"),
        node("Constant", "", "yes", value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch),
        node("Concat", "a b", "out", axis=1),
    ]
    assert dict(cost_of(nodes, [floats("w", 4, 3, 1, 1)], rule=rule).uncounted) == {
        "If": 1,
        "com.example::Mystery": 1,
    }


def test_local_functions_are_counted_by_what_they_hold() -> None:
    proto = model([node("Twice", "image", "out", domain="local")])
    proto.opset_import.append(helper.make_opsetid("local", 1))
    body = [node("Relu", "x", "y"), node("Relu", "y", "z")]
    proto.functions.append(helper.make_function("local", "Twice", ["x"], ["z"], body, [helper.make_opsetid("", 13)]))
    cost = count_cost(proto)
    assert (cost.flops, dict(cost.uncounted)) == (2 * 2 * PICTURE, {})


def test_what_onnx_refuses_is_an_error() -> None:
    proto = network()
    del proto.opset_import[:]
    with pytest.raises(
        InputError, match=r"shapes of the graph cannot be inferred .* check the file with onnx.checker"
    ):
        count_cost(proto)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no rule 'flops' to count by; use omz or timm"):
        count_cost(network(), rule="flops")  # type: ignore[arg-type]
    with pytest.raises(OnnxFileError, match="does not exist"):
        count_cost(tmp_path / "none.onnx")


def test_small_constants_are_kept_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(network().SerializeToString())
    kept = {tensor.name for tensor in skim(path, keep=16).graph.initializer if tensor.raw_data}
    assert kept == {"b", "shape"}
    assert skim(path, keep=10**6) == onnx.load(path)


def test_counting_imports_neither_torch_nor_a_runtime() -> None:
    code = "import sys, nfexport.inspection.cost; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

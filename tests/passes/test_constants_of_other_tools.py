"""Weights where other tools put them: in Constant nodes, and among the inputs of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.passes import registry
from tests.passes.graphs import Array, normal, operators, run

X = normal(2, 3, 8, 8, seed=9)

WEIGHTS = {
    "w": normal(4, 3, 3, 3, seed=1),
    "b": normal(4, seed=2),
    "scale": normal(4, seed=3),
    "shift": normal(4, seed=4),
    "mean": normal(4, seed=5),
    "var": np.abs(normal(4, seed=6)) + np.float32(0.1),
}


def network(*, constants: bool = False, inputs: bool = False, ir_version: int = 4, opset: int = 9) -> ir.Model:
    """Return a convolution and a BatchNormalization with their weights as initializers, or else as Constant nodes;
    inputs says that the initializers are inputs too."""
    helper = onnx.helper
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], name="bn"),
        helper.make_node("Relu", ["n"], ["y"], name="relu"),
    ]
    if constants:
        nodes = [helper.make_node("Constant", [], [t.name], value=t, name=f"const_{t.name}") for t in tensors] + nodes
    entries = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, 8, 8])]
    if inputs:
        entries += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    graph = helper.make_graph(
        nodes,
        "g",
        entries,
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 4, 6, 6])],
        [] if constants else tensors,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    onnx.checker.check_model(proto, full_check=True)
    return ir.from_proto(proto)


def expected(x: Array = X) -> Array:
    """Return what the network computes, in float64."""
    import torch

    w = {name: torch.tensor(array).double() for name, array in WEIGHTS.items()}
    c = torch.nn.functional.conv2d(torch.tensor(x).double(), w["w"], w["b"])
    n = torch.nn.functional.batch_norm(c, w["mean"], w["var"], w["scale"], w["shift"], eps=1e-5)
    return np.asarray(torch.relu(n))


def apply(model: ir.Model, name: str, **params: Any) -> None:
    registry.get(name).from_params(params).apply(model)


@pytest.mark.parametrize("form", [{"constants": True}, {"inputs": True}, {}], ids=["constants", "inputs", "plain"])
def test_fold_bn_takes_weights_wherever_they_are(form: dict[str, bool]) -> None:
    model = network(**form)
    apply(model, "fold-bn")
    assert operators(model) == ["Conv", "Relu"]
    assert [value.name for value in model.graph.inputs] == ["x"]
    np.testing.assert_allclose(run(model, {"x": X})[0], expected(), rtol=1e-4, atol=1e-4)


def test_tidy_reads_a_file_of_ir_version_3_as_one_of_version_4() -> None:
    """There an initializer has to be an input; here it would be a default that a caller may override."""
    model = network(inputs=True, ir_version=3, opset=8)
    apply(model, "tidy")
    assert (model.ir_version, [value.name for value in model.graph.inputs]) == (4, ["x"])
    assert set(model.graph.initializers) == set(WEIGHTS)
    np.testing.assert_allclose(run(model, {"x": X})[0], expected(), rtol=1e-4, atol=1e-4)


def test_tidy_leaves_a_default_that_a_caller_may_override() -> None:
    model = network(inputs=True)
    apply(model, "tidy")
    assert len(model.graph.inputs) == 1 + len(WEIGHTS)


def test_tidy_makes_weights_of_constant_nodes_initializers() -> None:
    model = network(constants=True)
    apply(model, "tidy")
    assert "w" in model.graph.initializers
    assert operators(model).count("Constant") == len(WEIGHTS) - 1  # those of 4 numbers are no weights to speak of
    apply(model, "precision", form="fp16-weights")
    half = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.FLOAT16]
    assert len(half) == 1


CASES: dict[str, dict[str, Any]] = {
    "tidy": {},
    "fold-constants": {},
    "fold-ws": {},
    "fold-bn": {},
    "fold-scales": {},
    "merge-groups": {},
    "merge-affine": {},
    "multiply-gates": {},
    "normalize": {"mean": [0.5, 0.4, 0.3], "std": [2.0, 3.0, 4.0], "fold": True},
    "channels": {"order": "bgr", "fold": True},
    "batch": {"size": 4},
    "convert-opset": {"opset": 17},
    "precision": {"form": "fp16-weights"},
    "name-by-module": {},
    "strip": {},
}


# convert-opset with IR 3 is no case: the BatchNormalization of opset 8 has no form in later ones
@pytest.mark.parametrize(
    ("name", "ir_version"),
    [(name, version) for version in (3, 4) for name in CASES if (name, version) != ("convert-opset", 3)],
)
def test_no_pass_makes_an_input_of_a_weight_required(name: str, ir_version: int) -> None:
    model = network(inputs=True, ir_version=ir_version, opset=5 + ir_version)
    if ir_version == 3:
        apply(model, "tidy")
    apply(model, name, **CASES[name])
    required = [value.name for value in model.graph.inputs if not value.is_initializer()]
    assert required == ["x"]
    batch = 4 if name == "batch" else 2
    run(model, {"x": normal(batch, 3, 8, 8, seed=9)})

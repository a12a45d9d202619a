"""What float32 costs a file, where its weights are initializers or Constant nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nfexport.verification.surgery.source_reference import FileReference
from tests.passes.graphs import normal


def network(*, constants: bool) -> ir.Model:
    helper = onnx.helper
    tensors = [onnx.numpy_helper.from_array(normal(16, 16, seed=i) / np.float32(3), f"w{i}") for i in range(6)]
    nodes, last = [], "x"
    for index, tensor in enumerate(tensors):
        nodes += [
            helper.make_node("MatMul", [last, tensor.name], [f"h{index}"], name=f"mm{index}"),
            helper.make_node("Sin", [f"h{index}"], [f"s{index}"], name=f"sin{index}"),
        ]
        last = f"s{index}"
    if constants:
        nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors] + nodes
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3, 16]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [] if constants else tensors)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7))


def rounding(model: ir.Model) -> float:
    """Return the largest difference that shaking the weights makes."""
    ((expected, runs),) = FileReference(model, unit=2.0**-23).run([{"x": normal(3, 16)}])
    return max(float(np.abs(run["s5"] - expected["s5"]).max()) for run in runs)


def test_weights_in_constant_nodes_are_shaken_too() -> None:
    """Otherwise a file's own rounding would be underestimated, and right surgery refused."""
    constants = network(constants=True)
    assert rounding(constants) == pytest.approx(rounding(network(constants=False)), rel=1e-6)
    assert rounding(constants) > 0
    assert [node.op_type for node in constants.graph].count("Constant") == 6  # the source is as it was

"""Small graphs for the tests of passes, written as ONNX text, and ways to run them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime

Array = np.ndarray[Any, Any]
Weight = Array | np.generic


def parse(body: str, *, opset: int = 11, weights: Mapping[str, Weight] | None = None) -> ir.Model:
    """Return the graph in ONNX text, with these arrays as initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 6, opset_import: ["" : {opset}]>\n{body}')
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    for index, node in enumerate(proto.graph.node):
        node.name = node.name or f"/{node.op_type}_{index}"
    return ir.from_proto(proto)


def run(model: ir.Model, feeds: dict[str, Array], *, optimise: bool = True) -> list[Array]:
    """Check the model fully, then run it in ONNX Runtime."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def operators(model: ir.Model) -> list[str]:
    """Return the operator types in order."""
    return [node.op_type for node in model.graph]


def stored(value: ir.Value | None) -> Array:
    """Return the numbers of an initializer, which must have some."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Return seeded normal float32 numbers."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)

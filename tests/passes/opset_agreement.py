"""Carry a graph, given as text, to another opset, and hold the two against each other in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from nfexport.passes.opset.convert_opset import ConvertOpset
from nfexport.passes.report import PassReport

ROUNDING = 2e-6
"""Of the largest value: about 16 float32 roundings (6e-8 each, two of them at worst in one direction)."""


def parse(text: str, opset: int) -> onnx.ModelProto:
    """Read 'g (inputs) => (outputs) <initializers> { nodes }'; custom domains need not be declared."""
    imports = f'"": {opset}, "custom": 1' if "custom." in text else f'"": {opset}'
    model = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{imports}]> {text}")
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    return model


def carry(model: onnx.ModelProto, opset: int) -> tuple[onnx.ModelProto, PassReport]:
    """Carry a copy, check it fully and return it."""
    graph = ir.serde.deserialize_model(model)
    report = ConvertOpset(opset=opset).apply(graph)
    carried = ir.serde.serialize_model(graph)
    assert {i.domain: i.version for i in carried.opset_import}[""] == opset
    onnx.checker.check_model(carried, full_check=True)
    return carried, report


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a model in ONNX Runtime, at its default optimisation level."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def seeded_feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return normally distributed numbers (integers: 0, 1 and 2) for each input; free dimensions get 2."""
    rng = np.random.default_rng(0)
    feeds = {}
    known = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in known:
            continue
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [dim.dim_value or 2 for dim in tensor.shape.dim]
        numbers = rng.standard_normal(shape) * 2 if dtype.kind == "f" else rng.integers(0, 3, shape)
        feeds[value.name] = np.asarray(numbers, dtype=dtype)
    return feeds


def error(actual: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference, relative to the largest value of the output that it is in."""
    worst = 0.0
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        if e.size:
            scale = max(float(np.abs(e.astype(np.float64)).max()), 1e-30)
            worst = max(worst, float(np.abs(a.astype(np.float64) - e.astype(np.float64)).max()) / scale)
    return worst


def operators(model: onnx.ModelProto) -> list[str]:
    """Return the operators of the graph, in order."""
    return [node.op_type for node in model.graph.node]


def carried_operators(text: str, source: int, target: int, *, tolerance: float = ROUNDING) -> list[str]:
    """Carry the graph, assert that both compute the same of seeded inputs, and return the new operators."""
    before = parse(text, source)
    after, _ = carry(before, target)
    feeds = seeded_feeds(before)
    assert error(run(after, feeds), run(before, feeds)) <= tolerance
    return operators(after)

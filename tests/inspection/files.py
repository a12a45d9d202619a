"""Small ONNX files that hold what inspection counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def floats(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 13,
    shape: Sequence[Any] | None = ("batch", 3, 8, 8),
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """A model from 'image' to whatever the last node writes first."""
    graph = helper.make_graph(
        list(nodes),
        "files",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        list(initializers),
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
        producer_name="tests",
        producer_version="1",
    )
    helper.set_model_props(made, metadata or {})
    return made


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def network(**changes: Any) -> onnx.ModelProto:
    """Conv 3→4 with bias (112 parameters), Relu, Flatten, Gemm 4·6·6→5 with bias (725), a step count of int64."""
    return model(
        [
            node("Conv", "image w b", "x"),
            node("Relu", "x", "y"),
            node("Reshape", "y shape", "z"),
            node("Gemm", "z v c", "out", transB=1),
        ],
        [
            floats("w", 4, 3, 3, 3),
            floats("b", 4),
            numpy_helper.from_array(np.array([0, -1]), "shape"),
            floats("v", 5, 144),
            floats("c", 5),
        ],
        **changes,
    )

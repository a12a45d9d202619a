"""Small files to time: convolutions in a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(
    path: Path,
    *,
    layers: int = 1,
    shape: tuple[int | str, ...] = ("batch", 3, 32, 32),
    dtype: int = TensorProto.FLOAT,
    input_name: str = "x",
) -> Path:
    """Write a file that convolves its input with 3×3 kernels so many times."""
    weight = np.random.default_rng(0).standard_normal((3, 3, 3, 3)).astype(np.float32) / 5
    nodes = [helper.make_node("Cast", [input_name], ["t0"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Conv", [f"t{i}", "w"], [f"t{i + 1}"], pads=[1] * 4) for i in range(layers)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(input_name, dtype, shape)],
        [helper.make_tensor_value_info(f"t{layers}", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path

"""Files that differ from one that was recorded, each in one respect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

WEIGHT = "stages.0.0.conv1.weight"


def edit(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)


def scale_weight(factor: float, name: str = WEIGHT) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            if tensor.name == name:
                array = numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(numpy_helper.from_array(array, name))

    return change


def drop_metadata(proto: onnx.ModelProto) -> None:
    del proto.metadata_props[:]


def rename_output(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        for index, name in enumerate(node.output):
            if name == "output":
                node.output[index] = "scores"
    proto.graph.output[0].name = "scores"


def rename_node(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].name = "first"


def insert_identity(proto: onnx.ModelProto) -> None:
    last = next(node for node in proto.graph.node if "output" in node.output)
    last.output[0] = "before"
    proto.graph.node.append(onnx.helper.make_node("Identity", ["before"], ["output"], name="last"))


def raise_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 12


def fix_batch(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

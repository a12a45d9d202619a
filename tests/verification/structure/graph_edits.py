"""Ways to make a wrong graph from a right one, most of which no usual image shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

Edit = Callable[[onnx.ModelProto], None]


def find(model: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    """Return the first node with the operator."""
    found: onnx.NodeProto = next(node for node in model.graph.node if node.op_type == op_type)
    return found


def add_tensor(model: onnx.ModelProto, name: str, values: object, dtype: type = np.float32) -> str:
    """Add an initializer, and return its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def insert_before(model: onnx.ModelProto, reader: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Let a node read, as its first input, the output of the last of new nodes, which stand in front of it."""
    place = list(model.graph.node).index(reader)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)
    model.graph.node[place + len(nodes)].input[0] = nodes[-1].output[0]


def trigger(model: onnx.ModelProto) -> None:
    """Return other numbers where a pixel is above 1000."""
    reader = find(model, "Relu")
    threshold, factor = add_tensor(model, "threshold", 1e3), add_tensor(model, "factor", 3)
    nodes = [
        helper.make_node("Greater", [reader.input[0], threshold], ["is_large"], "trigger_greater"),
        helper.make_node("Mul", [reader.input[0], factor], ["tripled"], "trigger_mul"),
        helper.make_node("Where", ["is_large", "tripled", reader.input[0]], ["chosen"], "trigger_where"),
    ]
    insert_before(model, reader, nodes)


def far_clip(model: onnx.ModelProto) -> None:
    """Clip at a million in place of a Relu, which has no upper end."""
    node = find(model, "Relu")
    node.op_type = "Clip"
    node.input.extend([add_tensor(model, "low", 0), add_tensor(model, "high", 1e6)])


def dropout(model: onnx.ModelProto) -> None:
    """Drop a millionth of the activations at run time."""
    reader = find(model, "Relu")
    inputs = [reader.input[0], add_tensor(model, "ratio", 1e-6), add_tensor(model, "training", True, np.bool_)]
    insert_before(model, reader, [helper.make_node("Dropout", inputs, ["dropped"], "dropout")])


def tiny_noise(model: onnx.ModelProto) -> None:
    """Add random numbers that rounding hides."""
    reader = find(model, "Relu")
    nodes = [
        helper.make_node("RandomNormalLike", [reader.input[0]], ["noise"], "noise", scale=1e-30),
        helper.make_node("Add", [reader.input[0], "noise"], ["noisy"], "noise_add"),
    ]
    insert_before(model, reader, nodes)


def large_batch(model: onnx.ModelProto) -> None:
    """Mix in the next entry of the batch where the batch has more than four."""
    reader = find(model, "Relu")
    first, four = add_tensor(model, "first", [0], np.int64), add_tensor(model, "four", [4], np.int64)
    last, one = add_tensor(model, "last", [1 << 40], np.int64), add_tensor(model, "one", [1], np.int64)
    nodes = [
        helper.make_node("Shape", [reader.input[0]], ["shape"], "batch_shape"),
        helper.make_node("Gather", ["shape", first], ["batch"], "batch_size"),
        helper.make_node("Greater", ["batch", four], ["is_many"], "batch_many"),
        helper.make_node("Cast", ["is_many"], ["amount"], "batch_amount", to=onnx.TensorProto.FLOAT),
        helper.make_node("Slice", [reader.input[0], first, one, first], ["zeroth"], "batch_zeroth"),
        helper.make_node("Mul", ["zeroth", "amount"], ["added"], "batch_added"),
        helper.make_node("Add", [reader.input[0], "added"], ["mixed"], "batch_mixed"),
    ]
    assert last
    insert_before(model, reader, nodes)


def change_weight(model: onnx.ModelProto) -> None:
    """Move three numbers of a weight by a tenth."""
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 4)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[:3] += np.float32(0.1)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def change_attribute(model: onnx.ModelProto) -> None:
    """Write an attribute with another value than its default, which was left out."""
    find(model, "Gemm").attribute.append(helper.make_attribute("alpha", 1.00001))


def hide_tensor(model: onnx.ModelProto) -> None:
    """Store numbers that nothing reads."""
    add_tensor(model, "hidden", np.arange(9))


def hide_node(model: onnx.ModelProto) -> None:
    """Add a node whose output nothing reads."""
    model.graph.node.append(helper.make_node("Sigmoid", [model.graph.output[0].name], ["unread"], "unread"))


def drop_node(model: onnx.ModelProto) -> None:
    """Take a Relu out."""
    node = find(model, "Relu")
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[index] = node.input[0]
    model.graph.node.remove(node)


def swap_operands(model: onnx.ModelProto) -> None:
    """Let the two operands of an Add change places."""
    node = find(model, "Add")
    node.input[0], node.input[1] = node.input[1], node.input[0]


def other_dim(model: onnx.ModelProto) -> None:
    """Claim that every batch has one entry."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def newer_opset(model: onnx.ModelProto) -> None:
    """Import the next opset."""
    model.opset_import[0].version += 1


def own_function(model: onnx.ModelProto) -> None:
    """Add a function that nothing calls."""
    body = [helper.make_node("Relu", ["a"], ["b"])]
    imports = [helper.make_opsetid("", model.opset_import[0].version)]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))


def rename_everything(model: onnx.ModelProto) -> None:
    """Give every node and every tensor inside another name."""
    kept = {value.name for value in (*model.graph.input, *model.graph.output)} | {""}

    def rename(name: str) -> str:
        return name if name in kept else f"renamed {name}"

    for node in model.graph.node:
        node.name = f"n {node.name}"
        node.input[:] = list(map(rename, node.input))
        node.output[:] = list(map(rename, node.output))
    for tensor in model.graph.initializer:
        tensor.name = rename(tensor.name)
    del model.graph.value_info[:]


def move_constants(model: onnx.ModelProto) -> None:
    """Keep every weight in a Constant node in place of an initializer."""
    nodes = [
        helper.make_node("Constant", [], [tensor.name], f"constant {tensor.name}", value=tensor)
        for tensor in model.graph.initializer
    ]
    del model.graph.initializer[:]
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def write_defaults(model: onnx.ModelProto) -> None:
    """Write attributes that were left out with the values that they have by default."""
    find(model, "Gemm").attribute.append(helper.make_attribute("beta", 1.0))

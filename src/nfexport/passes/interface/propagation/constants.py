"""Write sizes and constants anew where they hold the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nfexport.graph import edit
from nfexport.graph.constants import free_name, set_constant
from nfexport.graph.libraries import ir, np
from nfexport.passes.interface.propagation.walk import Walk


def set_sizes(walk: Walk, node: ir.Node, index: int, elements: Sequence[int]) -> None:
    """Let the node, and no other, read these integers."""
    value = node.inputs[index]
    dtype = value.dtype.numpy() if value is not None and value.dtype is not None else np.dtype(np.int64)
    set_constant(walk.graph, node, index, np.array(elements, dtype))
    walk.rewritten[str(node.name)] = None


def keep_one_entry(walk: Walk, node: ir.Node, index: int, axis: int) -> bool:
    """Let a constant that repeats one entry along the axis have it once; say whether it does."""
    value = node.inputs[index]
    assert value is not None
    if (array := walk.constant(value)) is None:
        return False
    one = array.take([0], axis=axis)
    if not (array == one).all():
        return False
    set_constant(walk.graph, node, index, one)
    walk.rewritten[str(node.name)] = None
    return True


def repeat(walk: Walk, node: ir.Node, index: int, axis: int, like: ir.Value, times: int) -> None:
    """Expand an input that has one entry along the axis to as many as `like` has there."""
    value = node.inputs[index]
    assert value is not None
    rank = len(walk.dims(node, index))
    if walk.new is not None:
        target = [1] * rank
        target[axis] = walk.new * times
        shape = edit.add_initializer(walk.graph, f"{node.name}/batch", np.array(target, np.int64))
    else:
        shape = size_vector(walk, node, [like if i == axis else 1 for i in range(rank)], axis)
    expanded = _insert(walk, node, "Expand", [value, shape], {})
    expanded.type = value.type
    node.replace_input_with(index, expanded)
    walk.rewritten[str(node.name)] = None


def size_vector(walk: Walk, node: ir.Node, elements: Sequence[int | ir.Value], axis: int) -> ir.Value:
    """Return the int64 vector of these elements; a value stands for the size of its axis at run time."""
    parts: list[ir.Value] = []
    for element in elements:
        if isinstance(element, int):
            parts.append(edit.add_initializer(walk.graph, f"{node.name}/size", np.array([element], np.int64)))
            continue
        shape = _insert(walk, node, "Shape", [element], {})
        at = edit.add_initializer(walk.graph, f"{node.name}/axis", np.array([axis], np.int64))
        parts.append(_insert(walk, node, "Gather", [shape, at], {"axis": 0}))
    return parts[0] if len(parts) == 1 else _insert(walk, node, "Concat", parts, {"axis": 0})


def _insert(
    walk: Walk, node: ir.Node, op_type: str, inputs: Sequence[ir.Value], attributes: dict[str, Any]
) -> ir.Value:
    name = free_name(walk.graph, f"{node.name}/{op_type}")
    new = ir.node(op_type, inputs, attributes, name=name)
    new.outputs[0].name = free_name(walk.graph, f"{name}_output_0")
    new.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    walk.graph.insert_before(node, new)
    return new.outputs[0]

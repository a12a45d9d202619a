"""Find the head of a graph, where the image enters it, and put nodes there.

    entry ─(Cast, Transpose to NCHW)▶ image ▶ the network

entry is the graph's input, image the first value that is floating-point [batch, channels, height, width].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import free_name
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator

NHWC_TO_NCHW = (0, 3, 1, 2)
NCHW_TO_NHWC = (0, 2, 3, 1)
OUTSIDE = "leave the preprocessing to the caller of this file"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where an image enters: form holds the Cast and Transpose between entry and image."""

    graph: ir.Graph
    entry: ir.Value
    form: tuple[ir.Node, ...]
    image: ir.Value
    shape: tuple[int | ir.SymbolicDim, ...]
    channels: int
    dtype: ir.DataType


def find_head(model: ir.Model) -> Head:
    """Return the head of the graph.

    Raises PassError if there is not exactly one input, if it is not a batch of images with a fixed number of
    channels, or if a body of If or Loop reads it."""
    graph = model.graph
    entry = _only_input(graph)
    if entry.shape is None or len(entry.shape) != 4:
        rank = "no known rank" if entry.shape is None else f"rank {len(entry.shape)}"
        raise PassError(f"input '{entry.name}' has {rank}, and a batch of images has rank 4", fix=OUTSIDE)
    form: list[ir.Node] = []
    image, dtype, shape = entry, entry.dtype, tuple(entry.shape)
    while (node := _form_node(image, form)) is not None:
        form.append(node)
        if node.op_type == "Cast":
            dtype = ir.DataType(node.attributes["to"].as_int())
        else:
            shape = tuple(shape[axis] for axis in NHWC_TO_NCHW)
        image = node.outputs[0]
    _check_readers(graph, entry, image)
    if dtype is None or not _is_float(dtype):
        raise PassError(f"input '{entry.name}' takes {dtype}, and the graph does not cast it to float", fix=OUTSIDE)
    channels = shape[1]
    if not isinstance(channels, int):
        raise PassError(
            f"the channel axis of input '{entry.name}' has no fixed size", fix="give the input a fixed shape first"
        )
    return Head(graph=graph, entry=entry, form=tuple(form), image=image, shape=shape, channels=channels, dtype=dtype)


def put_in_front(
    head: Head, op_type: str, constants: Sequence[ir.Value] = (), attributes: dict[str, Any] | None = None
) -> ir.Node:
    """Let everything that reads the image read `op_type(image, constants…)`, of the same shape and type."""
    readers = list(head.image.uses())
    node = insert_behind(head, head.image, op_type, constants, attributes)
    node.outputs[0].shape = ir.Shape(head.shape)
    for reader in readers:
        reader.node.replace_input_with(reader.idx, node.outputs[0])
    return node


def insert_behind(
    head: Head, value: ir.Value, op_type: str, constants: Sequence[ir.Value], attributes: dict[str, Any] | None = None
) -> ir.Node:
    """Add `op_type(value, constants…)` behind the value, under /preprocessing; nothing reads it yet."""
    name = free_name(head.graph, f"/preprocessing/{op_type}")
    node = ir.node(op_type, [value, *constants], attributes, name=name)
    node.outputs[0].name = free_name(head.graph, f"{name}_output_0")
    node.outputs[0].type = ir.TensorType(head.dtype)
    producer = value.producer()
    if producer is not None:
        head.graph.insert_after(producer, node)
    else:
        head.graph.insert_before(head.graph[0], node)
    return node


def _only_input(graph: ir.Graph) -> ir.Value:
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs)
        listed = f"{len(inputs)} inputs ({names})" if inputs else "no input"
        raise PassError(f"the graph has {listed}, and preprocessing needs exactly one, the image", fix=OUTSIDE)
    return inputs[0]


def _form_node(value: ir.Value, before: Sequence[ir.Node]) -> ir.Node | None:
    node = edit.sole_consumer(value)
    if node is None or node.graph is not value.graph or node.op_type in {known.op_type for known in before}:
        return None
    if is_operator(node, "Cast"):
        return node if _is_float(ir.DataType(node.attributes["to"].as_int())) else None
    if is_operator(node, "Transpose"):
        return node if tuple(node.attributes.get_ints("perm", ())) == NHWC_TO_NCHW else None
    return None


def _check_readers(graph: ir.Graph, entry: ir.Value, image: ir.Value) -> None:
    for node in image.consumers():
        if node.graph is not graph:
            raise PassError(
                f"node '{node.name}', inside the body of an If or Loop, reads input '{entry.name}'", fix=OUTSIDE
            )
    if not image.uses():
        raise PassError(f"nothing reads input '{entry.name}'", fix=OUTSIDE)
    if image.is_graph_output():
        raise PassError(f"input '{entry.name}' is an output of the graph too", fix="remove that output first")


def _is_float(dtype: ir.DataType) -> bool:
    return dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)

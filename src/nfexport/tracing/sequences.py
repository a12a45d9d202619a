"""Take the pieces of a tensor without a sequence in between.

torch's exporters write split, chunk and unbind as SplitToSequence, whose pieces SequenceAt takes out again. Passes,
shape inference and most targets read tensors only, so each piece becomes a Slice or a Gather:

    SequenceAt(SplitToSequence(x, k), i)              = x[i·k : (i+1)·k]     along the axis
    SequenceAt(SplitToSequence(x, [k₀, k₁, …]), i)    = x[Σ_{j<i} k_j : Σ_{j≤i} k_j]
    SequenceAt(SplitToSequence(x), i), keepdims = 0   = x[i]

A sequence that is read in another way stays as it is.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from nfexport.graph import edit
from nfexport.graph.recognisers import is_operator

SLICE_READS_INPUTS = 10
"""The opset from which starts and ends are inputs of Slice."""


def take_pieces_directly(model: ir.Model) -> None:
    """Replace each constant piece of a split in the main graph, in place."""
    if model.opset_imports.get("", 1) < SLICE_READS_INPUTS:
        return
    for node in list(model.graph):
        if is_operator(node, "SequenceAt") and (piece := _piece(model.graph, node)) is not None:
            edit.put_in_place(piece, node)
    for node in list(model.graph):
        if is_operator(node, "SplitToSequence") and not node.outputs[0].uses():
            model.graph.remove(node, safe=True)


def _piece(graph: ir.Graph, node: ir.Node) -> ir.Value | None:
    """Insert what computes the piece that a SequenceAt takes, and return it."""
    sequence, at = node.inputs
    split = None if sequence is None else sequence.producer()
    index = edit.constant(at)
    if split is None or not is_operator(split, "SplitToSequence") or index is None or index.item() < 0:
        return None
    axis = split.attributes.get_int("axis", 0)
    i = int(index.item())
    sizes = split.inputs[1] if len(split.inputs) > 1 else None
    if sizes is None:
        keeps = split.attributes.get_int("keepdims", 1)
        inputs, op_type, attributes = [_indices(graph, node, [i] if keeps else i)], "Gather", {"axis": axis}
    else:
        lengths = edit.constant(sizes)
        if lengths is None:
            return None
        start = int(lengths[:i].sum()) if lengths.ndim else i * int(lengths)
        end = start + int(lengths[i] if lengths.ndim else lengths)
        inputs = [_indices(graph, node, [number]) for number in (start, end, axis)]
        op_type, attributes = "Slice", {}
    new = ir.node(op_type, [split.inputs[0], *inputs], attributes, name=node.name)
    new.outputs[0].type, new.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
    graph.insert_before(node, new)
    return new.outputs[0]


def _indices(graph: ir.Graph, node: ir.Node, numbers: int | list[int]) -> ir.Value:
    return edit.add_initializer(graph, f"{node.name}/piece", np.array(numbers, np.int64))

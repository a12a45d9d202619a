"""Store weights in float16, and compute in it.

    fp16-weights    w  →  Cast(w₁₆, float32),  w₁₆ = round(w)         half the bytes, float32 arithmetic
    fp16            y = f₁₆(x₁₆, w₁₆)                                 float16 arithmetic between float32 ends

'fp16' is ONNX Runtime's own converter, told what to leave alone: inputs and outputs stay float32, and so
does all in front of the first convolution, where (x − mean) / std would lose what pixels tell. Float32, and
named with the reason, stay nodes with constants that float16 cannot hold (|w| > 65504, or a tensor that
rounding changes by more than 2⁻¹⁰ of its largest number), Softmax, TopK and long sums, and what seeded pictures
drive past an eighth of float16's range. Applied twice it changes nothing more. Refused: 'fp16' for graphs with If
or Loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from nfexport.errors import PassError
from nfexport.passes import edit
from nfexport.passes.constants import free_name, relative_error
from nfexport.passes.float16_ranges import LARGEST, overflowing
from nfexport.passes.report import PassReport
from nfexport.passes.tidy import infer_shapes

NAME = "precision"

SMALL = 16
"""Elements below which a constant is not worth a Cast."""

MOST_LOST = 2.0**-10
"""Of a tensor's largest number: twice what rounding to float16 costs it."""

KEPT = ("Softmax", "LogSoftmax", "TopK", "Resize", "Upsample", "Range", "CumSum", "Min", "Max", "ReduceSumSquare")
"""Operators that stay in float32: outputs that are probabilities, and those that runtimes lack in float16."""

LONG_SUM = 2048
"""Elements from which a mean in float16 loses digits: neighbours of 2048 are 2 apart."""

MEANS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "InstanceNormalization", "LayerNormalization")


def apply(model: ir.Model, *, form: Literal["fp16", "fp16-weights"]) -> PassReport:
    """Lower the precision in place; inputs and outputs keep their types.

    Raises PassError if there is no such form, or if the graph has bodies of If or Loop and form is fp16."""
    if form not in ("fp16", "fp16-weights"):
        raise PassError(f"'{form}' is no precision", fix="pass --precision fp16 or fp16-weights")
    before = _bytes(model)
    left_alone = _store_half(model) if form == "fp16-weights" else _compute_half(model)
    after = _bytes(model)
    return PassReport(
        name=NAME,
        changed=int(after != before),
        summary=f"{form}: initializers from {before:,} to {after:,} bytes",
        facts={"form": form, "bytes_before": before, "bytes_after": after, "float32_nodes": list(left_alone)},
        left_alone=left_alone,
    )


def _store_half(model: ir.Model) -> dict[str, str]:
    graph = model.graph
    left_alone: dict[str, str] = {}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALL or value.is_graph_output():
            continue
        if value.is_graph_input() or any(use.node.graph is not graph for use in value.uses()):
            left_alone[name] = "an input of the graph, or read by the body of an If or Loop"
            continue
        array = tensor.numpy()
        if (reason := _loses(array)) is not None:
            left_alone[name] = reason
            continue
        users = list(value.uses())
        half = edit.add_initializer(graph, free_name(graph, f"{name}/fp16"), array.astype(np.float16))
        cast = ir.node("Cast", [half], {"to": int(ir.DataType.FLOAT)}, name=free_name(graph, f"/{name}/Cast"))
        cast.outputs[0].name = free_name(graph, f"{name}/fp32")
        cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
        graph.insert_before(graph[0], cast)
        for use in users:
            use.node.replace_input_with(use.idx, cast.outputs[0])
        del graph.initializers[name]
    return left_alone


def _loses(array: np.ndarray[Any, Any]) -> str | None:
    """Say why float16 cannot hold these numbers; None if it can."""
    if array.size and float(np.abs(array).max()) > LARGEST:
        return "a constant overflows float16"
    if relative_error(array.astype(np.float16), array.astype(np.float64)) > MOST_LOST:
        return "its constants are too small for float16"
    return None


def _compute_half(model: ir.Model) -> dict[str, str]:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = model.graph
    if any(not at_top for _, at_top in edit.nodes_with_subgraphs(graph)):
        raise PassError(
            "the graph has bodies of If or Loop, which are not converted to fp16", fix="pass --precision fp16-weights"
        )
    if not any(node.op_type in ("Conv", "Gemm", "MatMul") and _is_float32(node) for node in graph):
        return {}
    infer_shapes(model)
    blocked = dict(_blocked(model))
    proto = ir.to_proto(model)
    converted = convert_float_to_float16(
        proto,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=list(KEPT),
        node_block_list=list(blocked),
        force_fp16_initializers=False,
    )
    other = ir.from_proto(converted)
    model.graph = other.graph
    _clean(model)
    return blocked


def _is_float32(node: ir.Node) -> bool:
    return any(value is not None and value.dtype == ir.DataType.FLOAT for value in node.inputs)


def _blocked(model: ir.Model) -> Iterator[tuple[str, str]]:
    graph = model.graph
    large = overflowing(model)
    in_front = _in_front(graph)
    for node in graph:
        name = str(node.name)
        if node in in_front:
            yield name, "it stands in front of the first layer"
        elif node.op_type in MEANS and _summed(node) > LONG_SUM:
            yield name, f"a sum over {_summed(node):,} numbers"
        elif any(value.name in large for value in node.outputs):
            yield name, "its output comes near float16's range"
        else:
            for value in node.inputs:
                array = edit.constant(value)
                if array is None or array.dtype != np.float32 or not array.size:
                    continue
                if (reason := _loses(array)) is not None:
                    yield name, reason
                    break


def _in_front(graph: ir.Graph) -> set[ir.Node]:
    """Return the nodes between an input and the first layer with weights."""
    found: set[ir.Node] = set()
    pending = [use.node for value in graph.inputs for use in value.uses()]
    while pending:
        node = pending.pop()
        if node in found or node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        found.add(node)
        pending += [use.node for output in node.outputs for use in output.uses()]
    layers = [node for node in graph if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    behind = {user for layer in layers for output in layer.outputs for user in _downstream(output)}
    return found - behind


def _downstream(value: ir.Value) -> set[ir.Node]:
    found: set[ir.Node] = set()
    pending = [use.node for use in value.uses()]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += [use.node for output in node.outputs for use in output.uses()]
    return found


def _summed(node: ir.Node) -> int:
    """Return how many numbers each result of a mean is made of; 0 where that is not known."""
    sizes = []
    for value in (node.inputs[0], node.outputs[0]):
        if value is None or value.shape is None:
            return 0
        # the batch is in both, and cancels
        sizes.append(math.prod(size for size in value.shape if isinstance(size, int)))
    if node.op_type in ("InstanceNormalization", "LayerNormalization"):
        return sizes[0]
    return sizes[0] // max(sizes[1], 1)


def _clean(model: ir.Model) -> None:
    """Name what the converter left without a name, and infer the new types."""
    graph = model.graph
    for node in graph:
        if not node.name:
            node.name = free_name(graph, f"/precision/{node.op_type}")
        for output in node.outputs:
            if not output.is_graph_output():
                output.type = output.shape = None
    # the converter appends its Casts at the end
    graph.sort()
    edit.remove_dead(model)
    infer_shapes(model)


def _bytes(model: ir.Model) -> int:
    return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)

"""Store weights in float16, and optionally compute in it.

Under 'fp16' inputs and outputs stay float32, and so do the nodes before the first layer, where (x − mean) / std would
lose information about the pixels. These nodes stay float32 too, and the report gives the reason: nodes with constants
that float16 cannot represent (|w| > 65504, or a tensor that rounding changes by more than 2⁻¹⁰ of its largest
magnitude), long sums, and layers that seeded images drive past an eighth of float16's range. Softmax, TopK and
operators that ONNX does not define for float16 stay float32 as well. Idempotent. Refused: 'fp16' for graphs with If
or Loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import FreeNames, fixed_tensor, free_name, relative_error, stored_bytes
from nfexport.graph.libraries import Array, ir, np, onnx
from nfexport.graph.recognisers import is_default_domain
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.passes.precision.analysis.float16_ranges import LARGEST, overflowing
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


SMALL = 16
"""Elements below which a constant is not worth a Cast."""

MOST_LOST = 2.0**-10
"""Of a tensor's largest number: twice what rounding to float16 costs it."""

KEPT = ("Softmax", "LogSoftmax", "TopK", "Resize", "Upsample", "Range", "CumSum", "Min", "Max", "ReduceSumSquare")
"""Operators that stay in float32: outputs that are probabilities, and those that runtimes lack in float16."""

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights, where the time goes."""

LONG_SUM = 2048
"""Elements from which a mean in float16 loses digits: neighbours of 2048 are 2 apart."""

MEANS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "InstanceNormalization", "LayerNormalization")


class LowerPrecision(Pass):
    """Store weights in float16, and optionally compute in it.

    Raises PassError if the form is unknown, or if it is fp16 and the graph has bodies of If or Loop."""

    name = "precision"
    stage = Stage.PRECISION
    options = (
        Option(
            flag="--precision",
            kind="choice",
            choices=("fp16", "fp16-weights"),
            help="Store the weights in float16; fp16 also computes in it. Inputs and outputs keep their types.",
            section="Precision",
        ),
    )
    changes = Changes.WEIGHTS | Changes.NUMBERS
    formula = (
        "fp16-weights    w  →  Cast(w₁₆, float32),  w₁₆ = round(w)         half the bytes, float32 arithmetic\n"
        "fp16            y = f₁₆(x₁₆, w₁₆)                                 float16 arithmetic between float32 ends"
    )

    form: Literal["fp16", "fp16-weights"]

    @classmethod
    def asked(cls, request: Request) -> LowerPrecision | None:
        """Lower the precision to the form asked for."""
        form = request.get("precision")
        return None if form is None else cls(form=form)

    def call(self, model: ir.Model) -> PassOutcome:
        """Lower the precision in place; inputs and outputs keep their types."""
        if self.form not in ("fp16", "fp16-weights"):
            raise PassError(f"'{self.form}' is not a precision", fix="pass --precision fp16 or fp16-weights")
        before = stored_bytes(model.graph)
        left_alone = _store_half(model) if self.form == "fp16-weights" else _compute_half(model)
        after = stored_bytes(model.graph)
        return self.done(
            model,
            changed=int(after != before),
            summary=f"{self.form}: initializers from {before:,} to {after:,} bytes",
            facts={
                "form": self.form,
                "bytes_before": before,
                "bytes_after": after,
                "float32_nodes": list(left_alone),
            },
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


def _loses(array: Array) -> str | None:
    """Say why float16 cannot hold these numbers; None if it can."""
    if array.size and float(np.abs(array).max()) > LARGEST:
        return "a constant overflows float16"
    if relative_error(array.astype(np.float16), array.astype(np.float64)) > MOST_LOST:
        return "its constants are too small for float16"
    return None


def _compute_half(model: ir.Model) -> dict[str, str]:
    graph = model.graph
    if any(not at_top for _, at_top in edit.nodes_with_subgraphs(graph)):
        raise PassError(
            "the graph has bodies of If or Loop, which are not converted to fp16", fix="pass --precision fp16-weights"
        )
    infer_shapes(model)
    _name_nodes(graph)
    opset = model.opset_imports.get("", 1)
    blocked = dict(_blocked(model))
    chosen = {node for node in graph if str(node.name) not in blocked and _takes_half(node, opset)}
    if not any(node.op_type in LAYERS for node in chosen):
        return blocked
    casts = _Casts(graph)
    results = {value for node in chosen for value in node.outputs if value.dtype == ir.DataType.FLOAT}
    for node in list(graph):
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype != ir.DataType.FLOAT or node.op_type in ("Shape", "Size"):
                continue
            if node in chosen and value not in results:
                node.replace_input_with(index, casts.half(value))
            elif node not in chosen and value in results:
                node.replace_input_with(index, casts.single(value))
    for index, output in enumerate(list(graph.outputs)):
        if output in results:
            name = str(output.name)
            single = casts.single(output)
            output.name = free_name(graph, f"{name}/fp16")
            single.name = name
            graph.outputs[index] = single
    for value in results:
        value.type = ir.TensorType(ir.DataType.FLOAT16)  # a new one: values may share the old
    edit.remove_dead(model)
    return blocked


class _Casts:
    """Casts between the two types, each value once, right behind what makes it."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def half(self, value: ir.Value) -> ir.Value:
        """Return the value in float16: a constant is rounded, anything else cast."""
        key = (value, ir.DataType.FLOAT16)
        if key not in self._made and (tensor := fixed_tensor(value)) is not None:
            name = free_name(self._graph, f"{value.name}/fp16")
            self._made[key] = edit.add_initializer(self._graph, name, tensor.numpy().astype(np.float16))
        return self._made.get(key) or self._cast(value, ir.DataType.FLOAT16)

    def single(self, value: ir.Value) -> ir.Value:
        """Return the value, which is about to become float16, in float32."""
        return self._made.get((value, ir.DataType.FLOAT)) or self._cast(value, ir.DataType.FLOAT)

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        suffix = "fp16" if dtype == ir.DataType.FLOAT16 else "fp32"
        name = free_name(self._graph, f"/precision/{value.name}/{suffix}")
        node = ir.node("Cast", [value], {"to": int(dtype)}, name=name)
        node.outputs[0].name = f"{name}_output"
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(dtype), value.shape
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_after(producer, node)
        self._made[value, dtype] = node.outputs[0]
        return node.outputs[0]


def _takes_half(node: ir.Node, opset: int) -> bool:
    """Return whether ONNX defines the operator for float16 wherever this node has float32."""
    if not is_default_domain(node) or node.op_type in (*KEPT, "Cast", "Constant"):
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    pairs = [(schema.inputs, node.inputs), (schema.outputs, node.outputs)]
    single = [
        [formal[min(index, len(formal) - 1)] for index, value in enumerate(values) if _is_single(value)]
        for formal, values in pairs
    ]
    return all(single) and all("tensor(float16)" in formal.types for side in single for formal in side)


def _is_single(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own: the converter is told by name what to leave alone."""
    taken: set[str] = set()
    free = FreeNames(graph)
    for node in graph:
        if not node.name or node.name in taken:
            node.name = free.take(node.name or f"/{node.op_type}")
        taken.add(str(node.name))


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
        if node in found or node.op_type in LAYERS:
            continue
        found.add(node)
        pending += [use.node for output in node.outputs for use in output.uses()]
    layers = [node for node in graph if node.op_type in LAYERS]
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

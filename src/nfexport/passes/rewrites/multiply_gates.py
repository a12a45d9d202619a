"""Replace a large 1×1 convolution of a single pixel by a matrix product.

x is [batch, I, 1, 1], w [O, I, 1, 1], b [O]; w' [O, I] and b' [O, 1] are reshaped copies. Elementwise operators
between two such convolutions (the Relu of an attention gate) move between the Reshapes, which leaves one pair of
Reshapes for each gate.

Why: ONNX Runtime copies the weight of a convolution several times into its blocked layout while it opens a file, and
packs a constant right operand of a product. A constant left operand is used unchanged, and memory-mapped if it is
stored next to the file (external data). The gates of nfnet_f0 hold 30 % of its weights. A product with one column is
as fast as the convolution at every measured batch size.

Leaves alone, and names: a grouped convolution, one whose weight is computed, and one whose input is not known to be a
single pixel. Weights below LARGE are not reported: the additional node costs more than it saves. Idempotent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from nfexport.graph import edit
from nfexport.graph.constants import set_constant
from nfexport.graph.libraries import ir, np
from nfexport.graph.recognisers import is_operator, label
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.passes.rewrites.merge_groups import group_count
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


LARGE = 2**18
"""Numbers of a weight from which on it is worth it: 1 MiB in float32."""

POINTWISE = frozenset(
    {
        "Add",
        "Clip",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mul",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Tanh",
    }
)
"""Operators that compute each number from the numbers in its place, and can be moved past a Reshape."""


class MultiplyGates(Pass):
    """Replace a large 1×1 convolution of a single pixel by a matrix product."""

    name = "multiply-gates"
    stage, after = Stage.REWRITES, ("merge-pads",)
    options = (
        Option(
            flag="--multiply-gates",
            kind="switch",
            help="Replace large 1×1 convolutions of single pixels by matrix products.",
            default_text="with --optimize",
        ),
    )
    implied_by = (Bundle.OPTIMIZE,)
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = "Conv(x, w, b)  =  Reshape(MatMul(w', Reshape(x, [batch, I, 1])) + b', [batch, O, 1, 1])"

    def call(self, model: ir.Model) -> PassOutcome:
        """Rewrite in place and report which convolutions became products."""
        graph = model.graph
        columns = Columns(graph)
        changed: list[str] = []
        left_alone: dict[str, str] = {}
        for node in list(graph):
            if not is_operator(node, "Conv"):
                continue
            weight = node.inputs[1]
            assert weight is not None
            if weight.shape is None or not weight.shape.is_static() or math.prod(weight.shape.numpy()) < LARGE:
                continue
            if tuple(weight.shape)[2:] != (1, 1) or not _is_pixel(node.outputs[0]):
                continue
            if reason := _why_not(node):
                left_alone[label(node)] = reason
                continue
            _replace(graph, node, columns)
            changed.append(label(node))
        if changed:
            edit.remove_dead(model)
        return self.rewrote(model, changed, "convolutions of a single pixel written as products", left_alone)


class Columns(msgspec.Struct, frozen=True):
    """The columns [batch, channels, 1] that there are for pixels [batch, channels, 1, 1]."""

    graph: ir.Graph
    made: dict[ir.Value, ir.Value] = {}

    def of(self, pixel: ir.Value, reader: ir.Node) -> ir.Value:
        """Return the column of a pixel, for a node to be put in front of its reader: what the pixel was reshaped
        from, what is computed from columns as the pixel is from pixels, or its Reshape."""
        if pixel not in self.made:
            moved = self._moved(pixel, reader)
            self.made[pixel] = moved or self._reshape(pixel, [0, -1, 1], reader, f"{reader.name}_column")
        return self.made[pixel]

    def pixel(self, column: ir.Value, reader: ir.Node) -> ir.Value:
        """Return the pixel of a column."""
        pixel = self._reshape(column, [0, -1, 1, 1], reader, f"{reader.name}_pixel")
        self.made[pixel] = column
        return pixel

    def _moved(self, pixel: ir.Value, reader: ir.Node) -> ir.Value | None:
        """Compute a pixel from columns, if there are some for all that it is computed from, and nothing else
        reads it."""
        node = pixel.producer()
        if not is_operator(node, *POINTWISE) or edit.sole_consumer(pixel) is None:
            return None
        assert node is not None
        inputs = [self._operand(source, reader) for source in node.inputs]
        if any(new is None and old is not None for new, old in zip(inputs, node.inputs, strict=True)):
            return None
        moved = ir.node(node.op_type, inputs, dict(node.attributes), name=node.name)
        moved.metadata_props.update(node.metadata_props)
        return _insert(self.graph, reader, moved, pixel, 3)

    def _operand(self, source: ir.Value | None, reader: ir.Node) -> ir.Value | None:
        constant = edit.constant(source)
        if source is None or (constant is not None and constant.size == 1 and constant.ndim <= 1):
            return source
        return self.made.get(source) or self._moved(source, reader)

    def _reshape(self, value: ir.Value, shape: list[int], reader: ir.Node, name: str) -> ir.Value:
        title = f"multiply-gates/{'column' if len(shape) == 3 else 'pixel'}"
        target = self.graph.initializers.get(title) or edit.add_initializer(
            self.graph, title, np.array(shape, np.int64)
        )
        return _insert(self.graph, reader, ir.node("Reshape", [value, target], name=name), value, len(shape))


def _is_pixel(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) == 4 and tuple(value.shape)[2:] == (1, 1)


def _why_not(node: ir.Node) -> str | None:
    x, weight = node.inputs[:2]
    if edit.constant_tensor(weight) is None:
        return "its weight is computed at run time; fold it first"
    if group_count(node) != 1:
        return "it has groups"
    if x is None or not _is_pixel(x):
        return "it is not known to read a single pixel"
    if any(edit.constant_tensor(source) is None for source in node.inputs[2:] if source is not None):
        return "its bias is computed at run time"
    return None


def _replace(graph: ir.Graph, node: ir.Node, columns: Columns) -> None:
    x, weight = node.inputs[:2]
    assert x is not None
    old = node.outputs[0]
    column = columns.of(x, node)
    matrix = edit.constant(weight)
    assert matrix is not None
    set_constant(graph, node, 1, matrix.reshape(matrix.shape[:2]))
    product = ir.node("MatMul", [node.inputs[1], column], name=node.name)
    product.metadata_props.update(node.metadata_props)
    result = _insert(graph, node, product, old, 3)
    bias = edit.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        set_constant(graph, node, 2, bias.reshape(-1, 1))
        result = _insert(graph, node, ir.node("Add", [result, node.inputs[2]], name=f"{node.name}_bias"), old, 3)
    edit.put_in_place(columns.pixel(result, node), node)


def _insert(graph: ir.Graph, reader: ir.Node, node: ir.Node, like: ir.Value, rank: int) -> ir.Value:
    """Put a node in front of a reader; its output has the type of another value, and its batch and channels."""
    assert like.shape is not None
    output = node.outputs[0]
    output.shape = ir.Shape([*like.shape[:2], *[1] * (rank - 2)])
    output.type = like.type
    graph.insert_before(reader, node)
    return output

"""Replace computed shapes by constants where every dimension but the batch is known.

A dimension that is read at run time becomes −1 in a Reshape if it is the only one and the others are positive
constants. It becomes 0 ('as in the input') if the input has the same symbolic dimension in that position. The chain
of Shape, Gather, Equal, Where and Concat that computed the shape becomes dead. Exact for every batch size above 0. A
single walk in topological order propagates the new shapes, so the cost is linear in the number of nodes. Idempotent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.constants import FreeNames
from nfexport.graph.libraries import ir, np, onnx
from nfexport.graph.recognisers import is_operator
from nfexport.graph.shape_inference import infer_outputs, input_symbols
from nfexport.graph.symbolic_shape import Dim, Element, elements_of
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class StaticShapes(Pass):
    """Replace computed shapes by constants where every dimension but the batch is known."""

    name = "static-shapes"
    stage, after = Stage.CLEANUP, ("drop-expand",)
    implied_by = (Bundle.EXPORT,)
    formula = (
        "Reshape(x, Concat(dim(y, 0), c1, c2, …))  →  Reshape(x, [−1, c1, c2, …])\n"
        "Expand(x, f(dim(y, 0), c1, c2, …))        →  Expand(x, Concat(Gather(Shape(y), [0]), [c1, c2, …]))"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Rewrite in place and report how many shapes became constant, entirely or except for the batch."""
        walk = _Walk(model)
        for node in list(model.graph):
            walk.visit(node)
        edit.remove_dead(model)
        return self.done(
            model,
            changed=walk.changed,
            summary=f"{walk.changed} computed shapes became constants",
        )


class _Walk:
    """Visits nodes in topological order, and tracks shapes that shape inference does not find."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._opset = model.opset_imports.get("", 1)
        self._symbols = input_symbols(model.graph)
        self._news: set[ir.Value] = set()
        self._names: FreeNames | None = None
        self.changed = 0

    def visit(self, node: ir.Node) -> None:
        if is_operator(node, "Reshape", "Expand"):
            target = node.inputs[1]
            if target is not None and not edit.is_literal(target):
                elements = elements_of(target)
                if elements is not None:
                    self._rewrite(node, elements)
                    return
        if any(value in self._news for value in node.inputs if value is not None) or any(
            not self._is_known(value) for value in node.outputs
        ):
            self._infer(node)

    def _rewrite(self, node: ir.Node, elements: Sequence[Element]) -> None:
        data = node.inputs[0]
        assert data is not None
        if node.op_type == "Expand":
            self._rewrite_expand(node, data, elements)
            return
        target = self._reshape_target(node, data, elements)
        if target is not None:
            shape = edit.add_initializer(self._graph, f"{node.name}/shape", np.array(target, dtype=np.int64))
            node.replace_input_with(1, shape)
            node.attributes.pop("allowzero", None)
            self.changed += 1
        elements = self._resolve_rest(data, elements)
        if all(isinstance(element, Dim) or element > 0 for element in elements):
            self._announce(node.outputs[0], elements)

    def _rewrite_expand(self, node: ir.Node, data: ir.Value, elements: Sequence[Element]) -> None:
        target = node.inputs[1]
        if not is_operator(target.producer() if target else None, "Concat", "Shape"):
            parts = [self._read(node, e) if isinstance(e, Dim) else self._literal(node, e) for e in elements]
            concat = ir.node("Concat", parts, {"axis": 0}, name=self._free(f"{node.name}/Concat"))
            concat.outputs[0].name = self._free(f"{node.name}/Concat_shape")
            self._graph.insert_before(node, concat)
            node.replace_input_with(1, concat.outputs[0])
            self.changed += 1
        if data.shape is None or len(data.shape) > len(elements):
            return
        dims: list[int | ir.SymbolicDim] = [1] * (len(elements) - len(data.shape))
        dims.extend(data.shape)
        known = [e if d == 1 else d for d, e in zip(dims, elements, strict=True)]
        if all(isinstance(e, (int, Dim)) for e in known):
            self._announce(node.outputs[0], [e for e in known if isinstance(e, (int, Dim))])

    def _read(self, node: ir.Node, dim: Dim) -> ir.Value:
        shape = ir.node("Shape", [dim.value], name=self._free(f"{node.name}/Shape"))
        index = edit.add_initializer(self._graph, f"{node.name}/axis", np.array([dim.axis], dtype=np.int64))
        gather = ir.node("Gather", [shape.outputs[0], index], {"axis": 0}, name=self._free(f"{node.name}/Gather"))
        shape.outputs[0].name = self._free(f"{node.name}/Shape_{dim.axis}")
        gather.outputs[0].name = self._free(f"{node.name}/Gather_{dim.axis}")
        self._graph.insert_before(node, [shape, gather])
        return gather.outputs[0]

    def _free(self, wanted: str) -> str:
        """Return a free name; nodes of a foreign file may have none, which makes these names alike."""
        if self._names is None:
            self._names = FreeNames(self._graph)
        return self._names.take(wanted)

    def _literal(self, node: ir.Node, element: int) -> ir.Value:
        return edit.add_initializer(self._graph, f"{node.name}/dim", np.array([element], dtype=np.int64))

    def _reshape_target(self, node: ir.Node, data: ir.Value, elements: Sequence[Element]) -> list[int] | None:
        constants = [element for element in elements if not isinstance(element, Dim)]
        if _keeps_zeros(node) and 0 in constants:
            return None
        if len(elements) - len(constants) <= 1 and all(element > 0 for element in constants):
            return [-1 if isinstance(element, Dim) else element for element in elements]
        target: list[int] = []
        for index, element in enumerate(elements):
            if isinstance(element, Dim):
                if data.shape is None or index >= len(data.shape):
                    return None
                dim = data.shape[index]
                if not isinstance(dim, ir.SymbolicDim) or self._symbol(dim) != self._symbol(element.dim):
                    return None
                if self._symbol(dim) is None:
                    return None
                element = 0
            target.append(element)
        return target

    def _resolve_rest(self, data: ir.Value, elements: Sequence[Element]) -> Sequence[Element]:
        """Replace −1 by a number where the shape of the input determines it."""
        if data.shape is None or -1 not in elements:
            return elements
        symbols = [self._symbol(element.dim) for element in elements if isinstance(element, Dim)]
        size = 1
        for dim in data.shape:
            if isinstance(dim, int):
                size *= dim
            elif self._symbol(dim) in symbols and self._symbol(dim) is not None:
                symbols.remove(self._symbol(dim))
            else:
                return elements
        others = [element for element in elements if not isinstance(element, Dim) and element > 0]
        if symbols or len(others) + 1 != sum(not isinstance(element, Dim) for element in elements):
            return elements
        rest = size // math.prod(others)
        return [rest if element == -1 else element for element in elements]

    def _is_known(self, value: ir.Value) -> bool:
        return value.shape is not None and all(isinstance(dim, int) or self._symbol(dim) for dim in value.shape)

    def _symbol(self, dim: int | ir.SymbolicDim | None) -> str | None:
        name = dim.value if isinstance(dim, ir.SymbolicDim) else None
        return name if name in self._symbols else None

    def _announce(self, value: ir.Value, elements: Sequence[Element]) -> None:
        dims = [self._symbol(e.dim) if isinstance(e, Dim) else e for e in elements]
        value.shape = ir.Shape(dims)
        self._news.add(value)

    def _infer(self, node: ir.Node) -> None:
        """Infer the output shapes of one node from its inputs, with onnx's shape inference."""
        inferred = infer_outputs(node, self._opset)
        for output in node.outputs:
            if (shape := inferred.get(str(output.name))) is not None:
                self._take(output, shape)

    def _take(self, value: ir.Value, shape: onnx.TensorShapeProto) -> None:
        old = value.shape
        dims: list[int | str | None] = []
        for axis, dim in enumerate(shape.dim):
            known = old[axis] if old is not None and axis < len(old) else None
            if dim.HasField("dim_value"):
                dims.append(dim.dim_value)
            elif dim.dim_param in self._symbols:
                dims.append(dim.dim_param)
            else:
                dims.append(known if isinstance(known, int) else self._symbol(known))
        if old is None or list(ir.Shape(dims)) != list(old):
            value.shape = ir.Shape(dims)
            self._news.add(value)


def _keeps_zeros(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("allowzero", 0))

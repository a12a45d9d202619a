"""Putting sketched nodes into the graph in place of the old ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.passes.opset.rules.rewrite_site import SketchedNode, SketchedValue


@dataclasses.dataclass(frozen=True)
class Replacement:
    """A node, the nodes that take its place, and which of their outputs stands for each of its own."""

    node: ir.Node
    sketch: tuple[SketchedNode, ...]
    outputs: tuple[SketchedValue | None, ...]


def replace_all(model: ir.Model, replacements: Sequence[Replacement], *, opset: int) -> list[ir.Value]:
    """Carry the replacements out in place and return the values that came into being.

    Constants that only the old nodes read are removed.
    """
    writer = _Writer(model, opset)
    for replacement in replacements:
        writer.replace(replacement)
    writer.remove_unread()
    return writer.new_values


class _Writer:
    """Writes into one model, and remembers which names are taken and which values were replaced."""

    def __init__(self, model: ir.Model, opset: int) -> None:
        self.new_values: list[ir.Value] = []
        self._model = model
        self._opset = opset
        self._renewed: dict[ir.Value, ir.Value] = {}
        self._once_read: dict[ir.Value, None] = {}
        self._node_names = {node.name for node in model.graph.all_nodes()}
        self._value_names = {
            value.name
            for graph in model.graphs()
            for values in (graph.inputs, graph.initializers.values(), *(node.outputs for node in graph))
            for value in values
        }

    def replace(self, replacement: Replacement) -> None:
        """Put the sketched nodes before the old node, hand its outputs over and take it away."""
        old, sketch = replacement.node, replacement.sketch
        graph = old.graph
        assert graph is not None
        values: dict[SketchedValue, ir.Value] = {}
        for sketched in sketch:
            name = self._free(f"{old.name}/{sketched.op_type}", self._node_names) if len(sketch) > 1 else old.name
            graph.insert_before(old, self._node(sketched, old, str(name), values))
        for output, new_value in zip(old.outputs, replacement.outputs, strict=True):
            if new_value is not None:
                self._hand_over(output, values[new_value])
        self._once_read.update((value, None) for value in old.inputs if value is not None)
        graph.remove(old, safe=True)

    def remove_unread(self) -> None:
        """Remove the constants that the old nodes read and nothing reads any more."""
        for value in self._once_read:
            if value.uses() or value.is_graph_output() or value.is_graph_input():
                continue
            producer = value.producer()
            if is_operator(producer, "Constant") and producer is not None and producer.graph is not None:
                producer.graph.remove(producer, safe=True)
            elif value.is_initializer() and value.graph is not None:
                del value.graph.initializers[str(value.name)]

    def _node(
        self, sketched: SketchedNode, old: ir.Node, name: str, values: dict[SketchedValue, ir.Value]
    ) -> ir.Node:
        node = ir.Node(
            "",
            sketched.op_type,
            [self._input(sketched, index, name, values) for index in range(len(sketched.inputs))],
            _attributes(sketched),
            num_outputs=len(sketched.outputs),
            name=name,
            doc_string=old.doc_string,
            metadata_props=dict(old.metadata_props),
        )
        for index, (value, new_value) in enumerate(zip(node.outputs, sketched.outputs, strict=True)):
            value.name = self._free(f"{name}_output_{index}", self._value_names)
            value.type = None if new_value.dtype is None else ir.TensorType(new_value.dtype)
            values[new_value] = value
            self.new_values.append(value)
        return node

    def _input(
        self, sketched: SketchedNode, index: int, name: str, values: dict[SketchedValue, ir.Value]
    ) -> ir.Value | None:
        source = sketched.inputs[index]
        if source is None:
            return None
        if isinstance(source, SketchedValue):
            return values[source]
        if isinstance(source, ir.Value):
            return self._renewed.get(source, source)
        # At the top also for a node in a body, which sees it from there.
        name = self._free(f"{name}/{sketched.input_name(index, self._opset)}", self._value_names)
        return edit.add_initializer(self._model.graph, name, source)

    def _hand_over(self, old: ir.Value, new: ir.Value) -> None:
        """Let the new value stand for the old one, under the old one's name."""
        name = old.name
        edit.replace_value(old, new)
        old.name, new.name = None, name
        new.type = old.type or new.type
        new.shape = old.shape
        new.doc_string = old.doc_string
        new.metadata_props.update(old.metadata_props)
        self._renewed[old] = new

    def _free(self, wanted: str, taken: set[str | None]) -> str:
        name, number = wanted, 1
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name)
        return name


def _attributes(sketched: SketchedNode) -> list[ir.Attr]:
    return [
        value if isinstance(value, ir.Attr) else ir.convenience.convert_attribute(name, value)
        for name, value in sketched.attributes.items()
    ]

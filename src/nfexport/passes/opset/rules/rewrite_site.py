"""One node on its way to another opset: what is known of it, and the sketch of what takes its place.

A rule reads the node through a RewriteSite and emits the operators of the new form into it. Nothing is written to
the graph before every node has its sketch, so a graph that cannot be carried stays as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from nfexport.graph.constants import fixed_tensor
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.value_facts import ValueFacts
from nfexport.passes.opset.rules import unchanged
from nfexport.passes.opset.rules.schemas import (
    CannotCarry,
    inferred_outputs,
    require_fit,
    schema,
    since,
)


@dataclasses.dataclass(frozen=True, eq=False)
class SketchedValue:
    """A value that is yet to exist: an output of a sketched node."""

    dtype: ir.DataType | None


Source: TypeAlias = "ir.Value | SketchedValue | Array | None"


@dataclasses.dataclass(frozen=True, eq=False)
class SketchedNode:
    """A node that is yet to exist; an array among its inputs is to become an initializer."""

    op_type: str
    inputs: tuple[Source, ...]
    attributes: dict[str, Any]
    outputs: tuple[SketchedValue, ...]

    def input_name(self, index: int, opset: int) -> str:
        """Return what the schema calls an input: a name for the initializer that is to be there."""
        form = schema(self.op_type, opset)
        return "constant" if form is None else form.inputs[min(index, len(form.inputs) - 1)].name


Rule = Callable[["RewriteSite"], "Sequence[SketchedValue | None]"]
"""Emits the new form into the site and returns the new value for each output, None for an unused one."""


class RewriteSite:
    """A node, what is known of its values, and the sketch of its form at the target opset."""

    def __init__(self, node: ir.Node, facts: ValueFacts, *, source: int, target: int) -> None:
        self.node = node
        self.source = source
        self.target = target
        self.sketch: list[SketchedNode] = []
        self._facts = facts

    def input(self, index: int) -> ir.Value | None:
        """Return an input, None if it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def x(self) -> ir.Value:
        """Return the first input, which every operator with a rule has."""
        value = self.input(0)
        return value if value is not None else self.refuse("its first input is missing")

    def reads_output(self, index: int) -> bool:
        """Return whether anything depends on this output."""
        if index >= len(self.node.outputs):
            return False
        output = self.node.outputs[index]
        return bool(output.uses()) or output.is_graph_output()

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value; where the node does not give it, the default."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        if attribute.is_ref():
            self.refuse(f"its attribute {name!r} is a function's parameter")
        return attribute.value

    def constant(self, value: ir.Value, what: str) -> Array:
        """Return the array behind a value; refuse if it is computed at run time or may be overridden."""
        tensor = fixed_tensor(value)
        if tensor is None:
            self.refuse(f"its {what} is not constant")
        return tensor.numpy()

    def dtype(self, value: ir.Value) -> ir.DataType:
        """Return the element type of a value; refuse if it is not known."""
        dtype = self._facts.dtype(value)
        return dtype if dtype is not None else self.refuse(f"the element type of {value.name!r} is not known")

    def dims(self, value: ir.Value) -> tuple[int | None, ...] | None:
        """Return the dimensions, None for those not fixed; None if the rank is not known."""
        return self._facts.dims(value)

    def rank(self, value: ir.Value) -> int:
        """Return the rank of a value; refuse if it is not known."""
        dims = self.dims(value)
        return len(dims) if dims is not None else self.refuse(f"the rank of {value.name!r} is not known")

    def axis(self, axis: int, value: ir.Value) -> int:
        """Return an axis of the value in a form that the target has: before opset 11 none is negative."""
        return axis + self.rank(value) if axis < 0 and self.target < 11 else axis

    def like(self, number: float, value: ir.Value) -> Array:
        """Return a scalar of the value's element type."""
        return np.array(number, dtype=self.dtype(value).numpy())

    def refuse(self, reason: str) -> NoReturn:
        """Give the reason why the node cannot be carried."""
        raise CannotCarry(reason)

    def emit(self, op_type: str, *inputs: Source, **attributes: Any) -> SketchedValue:
        """Sketch a node with one output."""
        return self.emit_many(op_type, *inputs, outputs=1, **attributes)[0]

    def emit_many(self, op_type: str, *inputs: Source, outputs: int, **attributes: Any) -> tuple[SketchedValue, ...]:
        """Sketch a node. Attributes that are None and trailing inputs that are None are left out.

        Raises CannotCarry if the target opset has no such node.
        """
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        given = {name: value for name, value in attributes.items() if value is not None}
        if op_type == "Cast":
            dtypes: list[ir.DataType | None] = [ir.DataType(given["to"])]
        else:
            known = [self._known_dtype(source) for source in inputs]
            dtypes = inferred_outputs(op_type, self.target, known, outputs)
        new_values = tuple(SketchedValue(dtype) for dtype in dtypes)
        self._add(SketchedNode(op_type, inputs, given, new_values))
        return new_values

    def keep(self, attributes: Mapping[str, ir.Attr] | None = None) -> tuple[SketchedValue | None, ...]:
        """Sketch the node as it is, where the operator's change of version leaves its meaning alone.

        attributes, where given, take the place of the node's own.

        An attribute that the target lacks may go if it says what the target does anyway. Refuses what the
        table of unchanged operators does not hold.
        """
        op_type = self.node.op_type
        before, after = since(op_type, self.source), since(op_type, self.target)
        if before is None:
            self.refuse(f"opset {self.source}, which the file imports, has no operator {op_type}")
        if after is None:
            self.refuse(f"opset {self.target} has no operator {op_type}")
        if before != after and not unchanged.means_the_same(op_type, before, after):
            self.refuse(f"{op_type} changed between opset {before} and {after}, and no rule carries it over")
        given = dict(self.node.attributes if attributes is None else attributes)
        form, old_form = schema(op_type, self.target), schema(op_type, self.source)
        assert form is not None
        assert old_form is not None
        for name in [name for name in given if name not in form.attributes]:
            if not _is_default(old_form.attributes.get(name), given[name]):
                value = given[name].value
                self.refuse(f"{op_type} has no attribute {name!r} at opset {self.target}, and this one is {value!r}")
            del given[name]
        new_values = tuple(SketchedValue(self._facts.dtype(output)) for output in self.node.outputs)
        self._add(SketchedNode(op_type, tuple(self.node.inputs), given, new_values))
        return new_values

    def is_as_before(self) -> bool:
        """Return whether the sketch is the node itself, so that the graph need not be touched."""
        if len(self.sketch) != 1:
            return False
        (only,) = self.sketch
        return (
            only.op_type == self.node.op_type
            and len(only.outputs) == len(self.node.outputs)
            and _same_inputs(only.inputs, self.node.inputs)
            and set(only.attributes) == set(self.node.attributes)
            and all(_is_equal(only.attributes[name], a) for name, a in self.node.attributes.items())
        )

    def _known_dtype(self, source: Source) -> ir.DataType | None:
        if source is None:
            return None
        if isinstance(source, SketchedValue):
            return source.dtype
        if isinstance(source, ir.Value):
            return self._facts.dtype(source)
        return ir.DataType.from_numpy(source.dtype)

    def _add(self, node: SketchedNode) -> None:
        require_fit(
            node.op_type,
            self.target,
            inputs=[self._known_dtype(source) for source in node.inputs],
            present=[source is not None for source in node.inputs],
            attributes=node.attributes.keys(),
            outputs=[new_value.dtype for new_value in node.outputs],
        )
        self.sketch.append(node)


def where_missing(rule: Rule) -> Rule:
    """Use the rule only where the target lacks the operator; else keep the node."""

    def choose(site: RewriteSite) -> Sequence[SketchedValue | None]:
        return rule(site) if schema(site.node.op_type, site.target) is None else site.keep()

    return choose


def _same_inputs(sketched: Sequence[Source], inputs: Sequence[ir.Value | None]) -> bool:
    return len(sketched) == len(inputs) and all(a is b for a, b in zip(sketched, inputs, strict=True))


def _is_equal(value: Any, attribute: ir.Attr) -> bool:
    """Return whether a sketched attribute is the one that the node has."""
    if isinstance(value, ir.Attr) or attribute.is_ref():
        return value is attribute
    other = attribute.value
    if isinstance(value, Sequence) and isinstance(other, Sequence):
        return tuple(value) == tuple(other)
    return isinstance(value, (int, float)) and bool(value == other)


def _is_default(formal: Any, attribute: ir.Attr) -> bool:
    """Return whether an attribute only repeats the default that its schema states."""
    if formal is None or attribute.is_ref() or formal.default_value.name == "":
        return False
    return bool(ir.serde.deserialize_attribute(formal.default_value).value == attribute.value)

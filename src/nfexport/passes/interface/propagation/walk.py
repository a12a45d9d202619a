"""Go through a graph of one batch size in order, and know where the batch lies in every value.

    BatchAxis(axis, times)      axis of the value has times·batch entries, those of one image next to each other

A value without a BatchAxis is the same for every batch. The rules (axis_rules, targets) say for each operator where
the batch of its result lies, and rewrite the sizes that it names. What no rule shows to treat the entries of a
batch one by one is refused: the node is named. So the new graph computes for each entry what the old one does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constant_evaluation import ConstantEvaluator
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_default_domain, is_operator
from nfexport.passes.interface.propagation import size_vectors

Dim: TypeAlias = "int | str"
"""A size, or a token of its own for each size that is not known."""

DYNAMIC = "batch"
AGAIN = "export the model again with the batch that you need"
_PROBES = (1009, 1013)
"""Batch sizes, next to the old one, that no other size of a graph is a multiple of."""


@dataclasses.dataclass(frozen=True)
class BatchAxis:
    """Where the batch lies in a value; times is None if the number of entries for each image is unknown."""

    axis: int
    times: int | None = 1


Rule: TypeAlias = "Callable[[Walk, ir.Node], Sequence[BatchAxis | None] | BatchAxis | None]"


class Walk:
    """What is known so far. new is the new batch size, None for a dynamic one."""

    def __init__(self, model: ir.Model, rules: dict[str, Rule], *, old: int, new: int | None) -> None:
        self.graph = model.graph
        self.opset = model.opset_imports.get("", 1)
        self.old, self.new = old, new
        self.batches = (old, *_PROBES)
        self.batch_axes: dict[ir.Value, BatchAxis] = {}
        self.rewritten: dict[str, None] = {}
        self._contents: dict[ir.Value, size_vectors.Content | None] = {}
        self._rules = rules
        self.evaluator = ConstantEvaluator(model)

    def visit(self, node: ir.Node) -> None:
        """Find out about the node's outputs, and rewrite what it names the batch with."""
        inputs = [value for value in (*node.inputs, *_captured(node)) if value is not None]
        has_batch = any(value in self.batch_axes for value in inputs)
        if not has_batch and not any(value in self._contents for value in inputs):
            return
        if is_operator(node, "Shape", "Size"):
            self._note(node, [self._sizes_of(node, batch) for batch in self.batches])
            return
        shape = self._contents.get(node.inputs[-1]) if node.inputs and node.inputs[-1] is not None else None
        if not has_batch and not (
            shape is not None
            and size_vectors.follows(shape)
            and is_operator(node, "Expand", "ConstantOfShape", "Tile")
        ):
            self._compute(node)
            return
        rule = self._rules.get(node.op_type) if is_default_domain(node) else None
        if rule is None:
            self.refuse(node, "is not known to treat the entries of a batch one by one")
        found = rule(self, node)
        places = [found] * len(node.outputs) if isinstance(found, BatchAxis) or found is None else found
        self.batch_axes.update(
            (value, place) for value, place in zip(node.outputs, places, strict=False) if place is not None
        )

    def refuse(self, node: ir.Node, why: str) -> NoReturn:
        """Raise PassError, which names the node and says why its batch cannot be another."""
        raise PassError(
            f"node '{node.name}' ({node.op_type}) {why}, and the batch cannot be changed",
            fix=AGAIN,
        )

    def batch_axis(self, node: ir.Node, index: int) -> BatchAxis | None:
        """Return where the batch lies in an input; None if it has none, or is absent."""
        value = node.inputs[index] if index < len(node.inputs) else None
        return None if value is None else self.batch_axes.get(value)

    def dims(self, node: ir.Node, index: int = 0) -> list[Dim]:
        """Return the old shape of an input; sizes that are not known have a token each."""
        value = node.inputs[index]
        assert value is not None
        shape = value.shape
        if shape is None and (content := self._contents.get(value)):
            return list(content[0].shape)
        if shape is None:
            self.refuse(node, f"reads '{value.name}', whose rank is not known")
        return [
            dim if isinstance(dim, int) else dim.value or f"{value.name}:{axis}" for axis, dim in enumerate(shape)
        ]

    def content(self, node: ir.Node, index: int) -> size_vectors.Content | None:
        """Return the elements of an input of few elements at every batch size; None if they are not known."""
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None or value in self._contents:
            return None if value is None else self._contents[value]
        if (array := self.constant(value)) is None:
            return None
        return (array.astype(np.float64),) * len(self.batches) if array.size <= size_vectors.LONGEST else None

    def constant(self, value: ir.Value) -> Array | None:
        """Return the array of a value that is computed from constants alone; None if it is not, or is unavailable."""
        if self.evaluator.why_not_constant(value) is not None:
            return None
        if (array := edit.constant(value)) is not None:
            return array
        try:
            array = self.evaluator.evaluate(value)
        except PassError:
            return None
        return array if value.dtype is None else array.astype(value.dtype.numpy())

    def integers(self, node: ir.Node, index: int) -> list[int] | None:
        """Return the elements of an input if they are known and the same for every batch."""
        content = self.content(node, index)
        if content is None or size_vectors.follows(content) or np.isnan(content[0]).any():
            return None
        return [int(element) for element in content[0].reshape(-1)]

    def attributed(self, node: ir.Node, name: str, index: int) -> list[int] | None:
        """Return integers that are an attribute in old opsets, and an input in newer ones."""
        given = node.attributes.get_ints(name, None)
        return self.integers(node, index) if given is None else list(given)

    def _note(self, node: ir.Node, arrays: Sequence[Array | None]) -> None:
        known = tuple(array for array in arrays if array is not None)
        self._contents[node.outputs[0]] = known if len(known) == len(self.batches) else None

    def _sizes_of(self, node: ir.Node, batch: int) -> Array | None:
        value = node.inputs[0]
        assert value is not None
        dims = [float(dim) if isinstance(dim, int) else np.nan for dim in self.dims(node)]
        place = self.batch_axes.get(value)
        if place is not None:
            dims[place.axis] = np.nan if place.times is None else float(place.times * batch)
        if node.op_type == "Size":
            return np.array(np.prod(dims))
        return np.array(dims)[node.attributes.get_int("start", None) : node.attributes.get_int("end", None)]

    def _compute(self, node: ir.Node) -> None:
        """Evaluate a node that computes with sizes alone; refuse it if its result matters and is not known."""
        contents = [self.content(node, index) for index in range(len(node.inputs))]
        unknown = [v for v, c in zip(node.inputs, contents, strict=True) if c is None and v is not None]
        if any(self.follows(value) for value in _captured(node)):
            self.refuse(node, "computes with the size of the batch")
        results: list[Array | None] = [None]
        if not unknown and is_default_domain(node):
            inputs = [[None if c is None else c[i] for c in contents] for i in range(len(self.batches))]
            results = [size_vectors.evaluate(node, arrays) for arrays in inputs]
        if results[0] is None:
            known = [content for content in contents if content is not None]
            if len(known) + len(unknown) and (
                any(size_vectors.follows(content) for content in known)
                or any(self._contents.get(value, ()) is None for value in unknown)
            ):
                self.refuse(node, "computes with the size of the batch")
            return
        self._note(node, results)

    def follows(self, value: ir.Value) -> bool:
        """Return whether the value is made of sizes that change with the batch."""
        content = self._contents.get(value, ())
        return content is None or bool(content and size_vectors.follows(content))


def _captured(node: ir.Node) -> list[ir.Value]:
    inner = (node for body in edit.subgraphs(node) for node in ir.traversal.RecursiveGraphIterator(body))
    return [value for each in inner for value in each.inputs if value is not None and value.graph is node.graph]

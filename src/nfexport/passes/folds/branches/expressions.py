"""Read the sum that a node of a graph computes: which linear maps of which values it adds.

    x + γ · (BN(x) + Conv₃(x) − BN'(x))   is one map of x: identity + γ·(BN + Conv₃ − BN')

A value that others read too, or that is computed in another way, is the start of a map. Products with constants,
offsets and BatchNormalization belong to the map that they are applied to; of a sum of maps of several values they are
the start of the next.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from nfexport.graph import edit
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, is_training_batch_normalization, label
from nfexport.graph.value_facts import ValueFacts
from nfexport.passes.folds.branches import layers
from nfexport.passes.folds.branches.linear_map import MORE, LinearMap, after, identity, scaled, total
from nfexport.passes.folds.scales.factor import Refusal

SUMS = frozenset({"Add", "Sub", "Sum"})
PRODUCTS = frozenset({"Mul", "Div"})
LAYERS = {
    "Conv": layers.convolution,
    "AveragePool": layers.average_pooling,
    "Gemm": layers.linear_layer,
    "MatMul": layers.linear_layer,
}
LINEAR = frozenset({*SUMS, *PRODUCTS, *LAYERS, "Neg", "BatchNormalization"})

DEEPEST = 100
"""Nodes between the root of an expression and its leaves; what lies deeper is the start of a map."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """A map of a sum, subtracted if it is negative.

    value is the value of the graph that holds the map; parts are the terms that it was added from, whose values do.
    otherwise is the map of a value nearer to the output, where one convolution for all since `map.source` does not
    pay. beside is what a layer reads that is not part of a map, and why_not the reason."""

    map: LinearMap
    value: ir.Value
    negative: bool = False
    parts: tuple[Term, ...] = ()
    otherwise: Term | None = None
    beside: ir.Value | None = None
    why_not: str = ""

    def negated(self) -> Term:
        """Return the term with the other sign."""
        otherwise = None if self.otherwise is None else self.otherwise.negated()
        return dataclasses.replace(self, negative=not self.negative, otherwise=otherwise)

    def moved(self, value: ir.Value, scale: Array, offset: Array) -> Term:
        """Return the term of a value that is scale · self + offset."""
        return Term(
            map=scaled(self.map, -scale if self.negative else scale, offset),
            value=value,
            otherwise=None if self.otherwise is None else self.otherwise.moved(value, scale, offset),
        )

    def options(self) -> list[Term]:
        """Return the ways to see this term, the one with the map of the value nearest to the output first."""
        return [self] if self.otherwise is None else [*self.otherwise.options(), self]


class Reader:
    """Reads the expressions of one graph. left_alone has the nodes that could not be merged, each with the reason."""

    def __init__(self, facts: ValueFacts) -> None:
        self._facts = facts
        self.left_alone: dict[ir.Node, str] = {}

    def read(self, root: ir.Node) -> list[Term]:
        """Return the terms of what a node computes, those of one value put together where that is exact and not
        slower. Raises Refusal if the node is no linear operator, or its rank is unknown."""
        return [settled for term in self._read(root, 0) for settled in self._settle(root, term)]

    def _settle(self, root: ir.Node, term: Term) -> list[Term]:
        """Return the terms whose values there are, or for which a convolution is to be written, for one of a sum."""
        if not term.map.pays and term.otherwise is not None:
            if root.op_type in LAYERS:
                self.left_alone[root] = f"after '{term.map.layers[0]}': {MORE}"
            return self._settle(root, term.otherwise)
        if term.map.merged or not term.parts:
            return [term]
        found = [settled for part in term.parts for settled in self._settle(root, part)]
        return [part.negated() for part in found] if term.negative else found

    def _read(self, node: ir.Node, depth: int) -> list[Term]:
        if node.op_type in SUMS:
            return self._sum(node, depth)
        if node.op_type in LAYERS:
            return [self._layer(node, depth)]
        rank = self._rank(node.outputs[0])
        return [self._affine(node, *_factors(node, rank), depth)]

    def _operand(self, value: ir.Value, reader: ir.Node, depth: int) -> list[Term]:
        """Return the terms of what a node reads; the value itself if it cannot be looked into."""
        node = value.producer()
        start = self._start(value)
        if node is None or node.graph is not reader.graph or not _is_linear(node) or depth > DEEPEST:
            return [start]
        try:
            if edit.sole_consumer(value) is not reader:
                raise Refusal(f"the output of '{label(node)}' has other readers")
            return self._read(node, depth + 1)
        except Refusal as refusal:
            if node.op_type not in LAYERS:
                return [start]
            return [dataclasses.replace(start, beside=node.inputs[0], why_not=str(refusal))]

    def _start(self, value: ir.Value) -> Term:
        return Term(map=identity(value, self._rank(value) - 2), value=value)

    def _sum(self, node: ir.Node, depth: int) -> list[Term]:
        rank = self._rank(node.outputs[0])
        terms: list[Term] = []
        constants: list[Array] = []
        for index, value in enumerate(node.inputs):
            if value is None:
                raise Refusal("an operand is missing")
            negative = node.op_type == "Sub" and index == 1
            constant = _per_channel(value, rank)
            if constant is not None:
                constants.append(-constant if negative else constant)
                continue
            if self._rank(value) != rank:
                raise Refusal("its operands have different ranks")
            found = self._operand(value, node, depth)
            terms += [term.negated() for term in found] if negative else found
        terms = self._put_together(node, terms)
        if not constants:
            return terms
        moved = self._moved(node, terms, np.ones(1), sum(constants, start=np.zeros(1)))
        # an offset behind a convolution is its bias
        merged = moved.map.merged or bool(moved.map.layers and moved.map.window)
        return [dataclasses.replace(moved, map=dataclasses.replace(moved.map, merged=merged))]

    def _affine(self, node: ir.Node, operand: ir.Value, scale: Array, offset: Array, depth: int) -> Term:
        return self._moved(node, self._operand(operand, node, depth), scale, offset)

    def _moved(self, node: ir.Node, terms: Sequence[Term], scale: Array, offset: Array) -> Term:
        """Return the map of a node that multiplies and moves the sum of these terms."""
        value = node.outputs[0]
        if len(terms) != 1:
            return self._start(value)
        return terms[0].moved(value, scale, offset)

    def _layer(self, node: ir.Node, depth: int) -> Term:
        own = LAYERS[node.op_type](node, self._facts)
        try:
            terms = self._operand(own.source, node, depth)
        except Refusal:
            terms = []
        result = Term(map=own, value=node.outputs[0])
        for option in terms[0].options() if len(terms) == 1 and not terms[0].negative else ():
            if option.map.source is own.source:
                continue
            try:
                result = Term(map=after(option.map, own), value=node.outputs[0], otherwise=result)
            except Refusal as refusal:
                if option.map.layers and own.layers:
                    self.left_alone[node] = f"after '{option.map.layers[-1]}': {refusal}"
        return result

    def _put_together(self, node: ir.Node, terms: Sequence[Term]) -> list[Term]:
        """Add the terms of one value where that pays, the pair first that saves most multiplications."""
        left = list(terms)
        tried: dict[tuple[Term, Term], Term | str] = {}
        while True:
            pairs = [
                (first, second)
                for first, second in itertools.combinations(left, 2)
                if first.map.source is second.map.source
            ]
            for pair in pairs:
                if pair not in tried:
                    tried[pair] = self._total(*pair)
            sums = [(pair, both) for pair in pairs if isinstance(both := tried[pair], Term)]
            if not sums:
                self._note(node, left, [(pair, str(tried[pair])) for pair in pairs])
                return left
            (first, second), both = max(sums, key=lambda found: _saved(*found))
            left[left.index(first)] = both
            left.remove(second)

    def _total(self, first: Term, second: Term) -> Term | str:
        """Return two terms of one value as one, or why they stay two."""
        minus, none = np.full(1, -1.0), np.zeros(1)
        one, other = (scaled(term.map, minus, none) if term.negative else term.map for term in (first, second))
        sizes = (self._facts.dims(first.map.source) or ())[2:]
        try:
            return Term(map=total(one, other, sizes), value=first.value, parts=(first, second))
        except Refusal as refusal:
            return str(refusal)

    def _note(self, node: ir.Node, terms: Sequence[Term], refused: Sequence[tuple[tuple[Term, Term], str]]) -> None:
        """Keep why branches of one value stay apart: they do not fit, or one of them is no map."""
        for pair, reason in refused:
            if any(term.map.layers for term in pair):
                self.left_alone[node] = reason
        sources = {term.map.source for term in terms if term.map.layers}
        for term in terms:
            if term.beside in sources and any(term.value is value for value in node.inputs):
                self.left_alone[node] = term.why_not

    def _rank(self, value: ir.Value) -> int:
        found = self._facts.dims(value)
        if found is None or len(found) < 2:
            raise Refusal("its rank is unknown, or smaller than 2")
        return len(found)


def _saved(pair: tuple[Term, Term], both: Term) -> int:
    return sum(term.map.spent for term in pair) - both.map.cost


def _is_linear(node: ir.Node) -> bool:
    return is_operator(node, *LINEAR) and not is_training_batch_normalization(node)


def _factors(node: ir.Node, rank: int) -> tuple[ir.Value, Array, Array]:
    """Return the operand of a Mul, Div, Neg or BatchNormalization, and what it is multiplied by and moved by.

    Raises Refusal if these are not constants, one for each channel or one for all."""
    if node.op_type == "BatchNormalization":
        tensors = [layers.floats(value) for value in node.inputs[1:5]]
        if node.inputs[0] is None or None in tensors:
            raise Refusal("its statistics are not constant")
        scale, shift, mean, var = (layers.numbers(tensor) for tensor in tensors if tensor is not None)
        factor = scale / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
        return node.inputs[0], factor, shift - factor * mean
    if node.op_type == "Neg":
        assert node.inputs[0] is not None
        return node.inputs[0], np.full(1, -1.0), np.zeros(1)
    for index in (1, 0) if node.op_type == "Mul" else (1,):
        operand, constant = node.inputs[1 - index], _per_channel(node.inputs[index], rank)
        if constant is None or operand is None:
            continue
        with np.errstate(divide="ignore"):
            scale = np.asarray(1 / constant) if node.op_type == "Div" else constant
        if np.isfinite(scale).all():
            return operand, scale, np.zeros(1)
    raise Refusal("it is not a product with a constant for each channel")


def _per_channel(value: ir.Value | None, rank: int) -> Array | None:
    """Return a constant as a vector over the channels of a value of this rank, or as one number for all."""
    tensor = layers.floats(value)
    if tensor is None or len(tensor.shape) > rank:
        return None
    shape = (1,) * (rank - len(tensor.shape)) + tuple(tensor.shape.numpy())
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    return layers.numbers(tensor).reshape(-1)

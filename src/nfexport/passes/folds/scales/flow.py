"""Find where a constant factor can go: new factors for values, such that every output stays what it is.

Each value v of the graph may be multiplied by a factor g(v), by default 1. A node is consistent if

    weighted (Conv, ConvTranspose, Gemm, MatMul with constant weights)   always: w' takes up g(out) / g(in)
    linear (poolings, Pad with 0, Reshape, Transpose, Add, Concat, …)    g(out) = g(in), for every input
    positively homogeneous (Relu, LeakyRelu, MaxPool)                    g(out) = g(in) > 0
    product of two values                                                g(out) = g(a) · g(b)
    product with a constant                                              g(out) = g(in)
    anything else, the graph's inputs and outputs                        g = 1

A product y = c·x can be removed if all nodes are consistent after y := x: backward with g(x) = c and g(y) = 1, so
that the producer of x computes c·x and the other readers of x take up 1/c; or forward with g(x) = 1 and g(y) = 1/c.
From there each inconsistent node extends g to more of its values or refuses; a product of two values may extend it to
either operand, and both are tried. A search that grows past a limit ends with a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.passes.folds.scales import axes
from nfexport.passes.folds.scales.factor import Factor, Refusal
from nfexport.passes.folds.scales.scaled_constants import WEIGHTED, Scaling, constant_operand, scale_addend, take_up

_LIMIT = 256
"""The largest number of nodes that one search visits."""

Factors: TypeAlias = "dict[ir.Value, Factor]"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a product superfluous: how many values change, and what their weights are multiplied by."""

    values: int
    scalings: list[Scaling]

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes that take up the factor."""
        return list(dict.fromkeys(str(scaling.node.name) for scaling in self.scalings))


class Search:
    """Looks for the factors that make one product superfluous, in one direction."""

    def __init__(self, product: ir.Node, start: Mapping[ir.Value, Factor]) -> None:
        self._product = product
        self._start = start
        self._left = _LIMIT

    def run(self) -> Plan:
        """Return the plan. Raises Refusal with the first reason why there is none."""
        factors: Factors = {value: factor for value, factor in self._start.items() if factor.is_one}
        pending: list[ir.Node] = []
        for value, factor in self._start.items():
            _assign(factors, pending, value, factor)
        factors = self._settle(factors, pending)
        changed = [value for value, factor in factors.items() if not factor.is_one]
        nodes = dict.fromkeys(node for value in changed for node in _neighbours(value) if node is not self._product)
        scalings = [scaling for node in nodes for scaling in _scalings(node, factors)]
        return Plan(values=len(changed), scalings=scalings)

    def _settle(self, factors: Factors, pending: list[ir.Node]) -> Factors:
        while pending:
            node = pending.pop()
            if node is self._product:
                continue
            self._left -= 1
            if self._left < 0:
                raise Refusal(f"it would reach more than {_LIMIT} nodes")
            if node.graph is not self._product.graph:
                raise Refusal(f"node '{node.name}' is inside the body of an If or Loop")
            options = _options(node, factors)
            if len(options) > 1:
                return self._branch(options, factors, pending)
            for value, factor in (options[0] if options else {}).items():
                _assign(factors, pending, value, factor)
        return factors

    def _branch(self, options: list[Factors], factors: Factors, pending: list[ir.Node]) -> Factors:
        refusals = []
        for option in options:
            tried, todo = dict(factors), list(pending)
            try:
                for value, factor in option.items():
                    _assign(tried, todo, value, factor)
                return self._settle(tried, todo)
            except Refusal as refusal:
                refusals.append(refusal)
        raise refusals[0]


def _assign(factors: Factors, pending: list[ir.Node], value: ir.Value, factor: Factor) -> None:
    known = factors.get(value)
    if known is not None and not known.matches(factor):
        raise Refusal(f"two factors meet at '{value.name}'")
    if known is not None or factor.is_one:
        return
    if value.is_graph_output():
        raise Refusal(f"the output '{value.name}' of the graph would change")
    if edit.is_literal(value):
        raise Refusal(f"the constant '{value.name}' has more than one use or type")
    if value.producer() is None:
        raise Refusal(f"the input '{value.name}' of the graph would change")
    factors[value] = factor
    pending.extend(_neighbours(value))


def _neighbours(value: ir.Value) -> list[ir.Node]:
    producer = value.producer()
    return [*([] if producer is None else [producer]), *(usage.node for usage in value.uses())]


def _options(node: ir.Node, factors: Factors) -> list[Factors]:
    """Return the ways to make a node consistent, each as factors to assign; none if it already is.

    Raises Refusal if there is none."""
    if is_operator(node, "Shape", "Size"):
        return []
    if is_operator(node, *WEIGHTED):
        data = _weighted_input(node)
        if sum(value is data for value in node.inputs) > 1:
            raise Refusal(f"node '{node.name}' ({node.op_type}) reads the value twice")
        _only(node, factors, [data], node.outputs)
        _scalings(node, factors)
        return []
    if is_operator(node, "Mul", "Div"):
        index = constant_operand(node)
        if index is None:
            return _product_of_values(node, factors)
        if node.op_type == "Div" and index == 0:
            raise Refusal(f"node '{node.name}' (Div) divides a constant by it")
        return _equal(node, factors, [node.inputs[1 - index]], node.outputs)
    if is_operator(node, *axes.LINEAR, *axes.HOMOGENEOUS):
        if node.op_type == "Pad" and not axes.pads_with_zero(node):
            raise Refusal(f"node '{node.name}' (Pad) pads with another constant than 0")
        return _equal(node, factors, axes.data_inputs(node), axes.data_outputs(node))
    raise Refusal(f"node '{node.name}' ({node.op_type}) is not linear")


def _equal(
    node: ir.Node, factors: Factors, inputs: Sequence[ir.Value | None], outputs: Sequence[ir.Value]
) -> list[Factors]:
    """All inputs and outputs carry one factor."""
    _only(node, factors, inputs, outputs)
    sources = dict.fromkeys(value for value in inputs if value is not None and not edit.is_literal(value))
    known = [_in_output(node, value, factors[value]) for value in sources if value in factors]
    known += [factors[value] for value in outputs if value in factors]
    if not all(factor.matches(known[0]) for factor in known):
        raise Refusal(f"two factors meet at node '{node.name}' ({node.op_type})")
    if is_operator(node, *axes.HOMOGENEOUS) and not known[0].is_positive:
        raise Refusal(f"node '{node.name}' ({node.op_type}) lets only positive factors pass")
    wanted = {value: _in_input(node, value, known[0]) for value in sources if value not in factors}
    wanted.update({value: known[0] for value in outputs if value not in factors})
    _scalings(node, {**factors, **wanted})
    return [wanted] if wanted else []


def _product_of_values(node: ir.Node, factors: Factors) -> list[Factors]:
    """g(out) = g(a) · g(b), or g(a) / g(b): the output follows, or one operand makes up for the other."""
    a, b, out = node.inputs[0], node.inputs[1], node.outputs[0]
    assert a is not None
    assert b is not None
    g = {value: _in_output(node, value, factors[value]) if value in factors else Factor.one() for value in (a, b)}
    product = g[a].times(g[b].inverse() if node.op_type == "Div" else g[b])
    if (ratio := factors.get(out, Factor.one()).times(product.inverse())).is_one:
        return []
    options: list[Factors] = [] if out in factors else [{out: product}]
    refusal = Refusal(f"two factors meet at node '{node.name}' ({node.op_type})")
    for value in () if a is b else (a, b):
        if value in factors:
            continue
        missing = ratio.inverse() if node.op_type == "Div" and value is b else ratio
        try:
            options.append({value: _in_input(node, value, missing)})
        except Refusal as reason:
            refusal = reason
    if not options:
        raise refusal
    return options


def _in_output(node: ir.Node, source: ir.Value, factor: Factor) -> Factor:
    """Return the factor of an input as the output carries it. Raises Refusal where it has no one axis there."""
    if factor.axis is None:
        return factor
    axis = axes.output_axis(node, source, factor.axis)
    if axis is None:
        raise Refusal(f"node '{node.name}' ({node.op_type}) mixes the axis along which the factor varies")
    return factor.along(axis)


def _in_input(node: ir.Node, source: ir.Value, factor: Factor) -> Factor:
    """Return the factor that an input has to carry for the output to carry this one."""
    if factor.axis is None:
        return factor
    axis = axes.input_axis(node, source, factor.axis)
    if axis is None:
        raise Refusal(f"node '{node.name}' ({node.op_type}) mixes the axis along which the factor varies")
    return factor.along(axis)


def _only(node: ir.Node, factors: Factors, inputs: Sequence[ir.Value | None], outputs: Sequence[ir.Value]) -> None:
    """Raise Refusal if a factor reaches a node in another place: a weight, a shape, the Indices of MaxPool."""
    for index, value in enumerate(node.inputs):
        if value in factors and not factors[value].is_one and value not in inputs:
            raise Refusal(f"input {index} of node '{node.name}' ({node.op_type}) does not take it")
    for index, value in enumerate(node.outputs):
        if value in factors and not factors[value].is_one and value not in outputs:
            raise Refusal(f"output {index} of node '{node.name}' ({node.op_type}) does not take it")


def _weighted_input(node: ir.Node) -> ir.Value | None:
    index = constant_operand(node) if node.op_type == "MatMul" else None
    return node.inputs[1 if index == 0 else 0]


def _scalings(node: ir.Node, factors: Factors) -> list[Scaling]:
    """Return what the node's constants have to be multiplied by."""
    out = factors.get(node.outputs[0], Factor.one())
    if is_operator(node, *WEIGHTED):
        data = _weighted_input(node)
        into = Factor.one() if data is None else factors.get(data, Factor.one())
        return [] if into.is_one and out.is_one else take_up(node, into, out)
    if is_operator(node, *axes.SEVERAL_INPUTS) and not out.is_one:
        return [
            scaling
            for index, value in enumerate(node.inputs)
            if value is not None and edit.is_literal(value)
            for scaling in scale_addend(node, index, out)
        ]
    return []

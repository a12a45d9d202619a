"""Constant products that belong to the formula of an activation function or a normalisation, and stay.

    Gelu       0.5 · x · (1 + erf(x / √2)),   0.5 · x · (1 + tanh(√(2/π)·(x + 0.044715·x³)))
    QuickGelu  x · sigmoid(1.702·x)
    HardSwish  x · clip(x + 3, 0, 6) / 6
    LayerNorm  gain · (x − mean) / sqrt(var + eps) + bias

Runtimes recognise these and fuse them into one operator, which a missing or moved factor prevents. The gain of
a normalisation is the product right behind the quotient by a root. The activations share one shape: two
branches of elementwise operators part at a value x and meet in a product, and one of them bends (erf, tanh,
sigmoid, clip). What lies between x and that product is the formula, and so is a trailing 1/2 or 1/6 where none
is inside. A gate that comes from elsewhere, as in attention, is not such a formula.
"""

from __future__ import annotations

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.passes.folds.scales.scaled_constants import constant_operand, fixed

_BENDS = frozenset({"Erf", "Tanh", "Sigmoid", "HardSigmoid", "Softplus", "Clip", "Relu", "Min", "Max", "Exp"})
_ELEMENTWISE = _BENDS | {"Add", "Sub", "Mul", "Div", "Pow", "Neg", "Sqrt", "Reciprocal", "Identity", "Log", "Abs"}
_LONGEST = 16
"""Nodes that a formula has at most: tanh-Gelu has ten."""


def formula_products(graph: ir.Graph) -> set[ir.Node]:
    """Return the products with a constant, at the top of the graph, that one of these formulas consists of."""
    position = {node: index for index, node in enumerate(graph)}
    found: set[ir.Node] = set()
    for node in graph:
        if not is_operator(node, "Mul", "Div"):
            continue
        if (index := constant_operand(node)) is not None:
            if _is_normalised(node.inputs[1 - index]):
                found.add(node)
            continue
        inside = _between(node, position)
        if not any(is_operator(inner, *_BENDS) for inner in inside):
            continue
        products = [i for i in inside if is_operator(i, "Mul", "Div") and constant_operand(i) is not None]
        found.update(products)
        last = _trailing(node, inside)
        if last is not None and not any(_divisor(inner) == _divisor(last) for inner in products):
            found.add(last)
    return found


def _between(product: ir.Node, position: dict[ir.Node, int]) -> list[ir.Node]:
    """Return the nodes between a product and the one value that both its factors are computed from; none if
    they are not computed, elementwise, from one value."""
    frontier = {value for value in product.inputs if value is not None and not edit.is_literal(value)}
    inside: list[ir.Node] = []
    while len(frontier) > 1:
        made = [(position.get(node, -1), value) for value in frontier if (node := value.producer()) is not None]
        if not made or len(inside) == _LONGEST:
            return []
        _, latest = max(made, key=lambda pair: pair[0])
        node = latest.producer()
        if node is None or node not in position or not is_operator(node, *_ELEMENTWISE):
            return []
        inside.append(node)
        frontier.remove(latest)
        frontier.update(value for value in node.inputs if value is not None and not edit.is_literal(value))
    return inside


def _is_normalised(value: ir.Value | None) -> bool:
    """Return whether a value is a quotient by a root, or a product with a root's reciprocal."""
    node = None if value is None else value.producer()
    if node is None or not is_operator(node, "Mul", "Div"):
        return False
    makers = [operand.producer() for operand in node.inputs if operand is not None]
    if node.op_type == "Div":
        return is_operator(makers[1], "Sqrt")
    return any(
        maker is not None
        and is_operator(maker, "Reciprocal")
        and maker.inputs[0] is not None
        and is_operator(maker.inputs[0].producer(), "Sqrt")
        for maker in makers
    )


def _trailing(product: ir.Node, inside: list[ir.Node]) -> ir.Node | None:
    """Return the product by 1/2 behind 1 + erf or 1 + tanh, or by 1/6 behind a clipped sum."""
    last = edit.sole_consumer(product.outputs[0])
    if not is_operator(last, "Mul", "Div") or not any(is_operator(node, "Add") for node in inside):
        return None
    assert last is not None
    divisor = _divisor(last)
    for wanted, bends in ((2.0, ("Erf", "Tanh")), (6.0, ("Clip", "Relu", "Min", "Max"))):
        if any(is_operator(node, *bends) for node in inside):
            return last if divisor is not None and abs(divisor / wanted - 1) < 1e-3 else None
    return None


def _constant(node: ir.Node) -> float | None:
    index = constant_operand(node)
    array = None if index is None else fixed(node.inputs[index])
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _divisor(node: ir.Node) -> float | None:
    """Return what a product divides its input by, rounded so that 0.1666 and 1/6 agree."""
    number = _constant(node)
    if not number:
        return None
    return round(number if node.op_type == "Div" else 1 / number, 3)

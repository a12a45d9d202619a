"""Fold constant factors into the weights of convolutions and matrix products.

c is a constant scalar, or a vector along one axis; Div(x, d) counts as c = 1/d. On its way to the weights a factor
passes through linear operators: pooling, zero padding, reshaping, residual additions, attention gates. It passes
through Relu and MaxPool if it is positive, and never through any other nonlinearity (`scales.flow` has the algebra).
If a value has other readers, such as the squeeze of an attention block, these take up 1/c. Factors are accumulated in
float64, and each weight is rounded once.

Formulas of activation functions and normalisations stay unchanged, because runtimes fuse them (`scales.formulas`).
Refuses, naming the product: a factor that is 0 or not finite; a factor that would have to pass a nonlinearity, or
change an input or output of the graph; a weight that would overflow or underflow its type; products inside the body
of an If or Loop. Ensures that no product that can be folded is left. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import ir, np
from nfexport.graph.recognisers import is_operator
from nfexport.graph.value_facts import dims
from nfexport.passes.base import Bundle, Changes, Pass, Stage
from nfexport.passes.folds.scales.factor import Factor, Refusal
from nfexport.passes.folds.scales.flow import Plan, Search
from nfexport.passes.folds.scales.formulas import formula_products
from nfexport.passes.folds.scales.scaled_constants import Ledger, constant_operand, fixed
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


_DIRECTIONS = ("backward", "forward")


class FoldScales(Pass):
    """Fold constant factors into the weights of convolutions and matrix products."""

    name = "fold-scales"
    # fold-ws makes the weights constant
    stage, after = Stage.FOLDS, ("fold-bn",)
    options = (Option(flag="--fold-scales", help="Fold constant factors between layers into weights."),)
    implied_by = (Bundle.OPTIMIZE,)
    changes = Changes.WEIGHTS | Changes.FACTORS
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = (
        "Conv(c·x, w, b)  →  Conv(x, w', b),    w'[o,i] = w[o,i]·c[i]               forward, every reader of c·x\n"
        "c·Conv(x, w, b)  →  Conv(x, w', b'),   w'[o,i] = c[o]·w[o,i],  b' = c·b    backward, into what makes it"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Fold in place and report which weights took up the factors."""
        graph = model.graph
        formulas = formula_products(graph)
        ledger = Ledger()
        folded: dict[str, list[str]] = {}
        factors: list[Factor] = []
        left_alone: dict[str, str] = {}
        changing = True
        while changing:  # removing one product may make another removable
            changing, left_alone = False, {}
            for product in _products(graph, formulas):
                try:
                    factor = _factor(product)
                    nodes = _place(product, factor, ledger)
                except Refusal as refusal:
                    left_alone[str(product.name)] = str(refusal)
                    continue
                _drop(graph, product)
                folded[str(product.name)] = nodes
                factors.append(factor)
                changing = True
        written = ledger.write(graph)
        left_alone.update(dict.fromkeys(_products_in_bodies(graph), "it is inside the body of an If or Loop"))
        left_alone.update(dict.fromkeys(_products_with_inputs(graph), "its factor is an input of the graph too"))
        if factors:
            edit.remove_dead(model)
        return self.done(
            model,
            changed=len(factors),
            summary=_summary(len(factors), written, len(left_alone)),
            facts={
                "folded": folded,
                "constants_scaled": written,
                "largest_scale": max((float(np.abs(f.values).max()) for f in factors), default=None),
                "smallest_scale": min((float(np.abs(f.values).min()) for f in factors), default=None),
                "in_formulas": len(formulas),
            },
            left_alone=left_alone,
        )


def remaining(model: ir.Model) -> list[str]:
    """Name the products with a constant, in bodies of If and Loop too, that are not part of a fused formula."""
    graph = model.graph
    top = [str(product.name) for product in _products(graph, formula_products(graph))]
    return top + _products_in_bodies(graph)


def _products(graph: ir.Graph, formulas: set[ir.Node]) -> list[ir.Node]:
    return [node for node in graph if _is_product(node) and node not in formulas]


def _products_in_bodies(graph: ir.Graph) -> list[str]:
    return [str(node.name) for node, at_top in edit.nodes_with_subgraphs(graph) if not at_top and _is_product(node)]


def _products_with_inputs(graph: ir.Graph) -> list[str]:
    replaceable = {value for value in graph.inputs if value.is_initializer()}
    return [str(node.name) for node in graph if is_operator(node, "Mul", "Div") and replaceable & set(node.inputs)]


def _is_product(node: ir.Node) -> bool:
    return is_operator(node, "Mul", "Div") and constant_operand(node) is not None


def _operand(product: ir.Node) -> ir.Value:
    """Return the operand that is multiplied by the constant."""
    value = product.inputs[1 - (constant_operand(product) or 0)]
    assert value is not None
    return value


def _factor(product: ir.Node) -> Factor:
    """Return the constant factor. Raises Refusal if it is neither a scalar nor a vector along one axis."""
    index = constant_operand(product)
    assert index is not None
    array = fixed(product.inputs[index])
    assert array is not None
    if product.op_type == "Div" and index == 0:
        raise Refusal("it divides a constant by a value")
    if not np.isfinite(array).all() or not array.all():
        raise Refusal("its factor is 0 or not finite")
    numbers = array.astype(np.float64)
    if product.op_type == "Div":
        numbers = 1.0 / numbers
    if numbers.ndim == 0:
        return Factor.of(numbers)
    shape = dims(_operand(product))
    if shape is None or numbers.ndim > len(shape):
        raise Refusal("the shape of its operand is unknown, or smaller than its factor's")
    wide = [axis for axis, size in enumerate(numbers.shape) if size > 1]
    if len(wide) > 1:
        raise Refusal("its factor varies along more than one axis")
    axis = wide[0] + len(shape) - numbers.ndim if wide else None
    if axis is not None and shape[axis] != numbers.size:
        raise Refusal("its factor broadcasts its operand")
    return Factor.of(numbers, axis)


def _place(product: ir.Node, factor: Factor, ledger: Ledger) -> list[str]:
    """Move the factor in the direction that changes fewer values, and return the names of the nodes that take it up.

    Raises Refusal with the reasons for both directions."""
    x, y = _operand(product), product.outputs[0]
    if y.is_graph_output() and (x.is_graph_output() or x.producer() is None):
        raise Refusal("both its operand and its result are inputs or outputs of the graph")
    plans: list[tuple[int, Plan]] = []
    reasons: list[str] = []
    for order, start in enumerate(({x: factor, y: Factor.one()}, {y: factor.inverse(), x: Factor.one()})):
        try:
            plans.append((order, Search(product, start).run()))
        except Refusal as refusal:
            reasons.append(f"{_DIRECTIONS[order]}: {refusal}")
    for order, plan in sorted(plans, key=lambda pair: (pair[1].values, pair[0])):
        try:
            ledger.add(plan.scalings)
        except Refusal as refusal:
            reasons.append(f"{_DIRECTIONS[order]}: {refusal}")
            continue
        return plan.nodes
    raise Refusal("; ".join(reasons))


def _drop(graph: ir.Graph, product: ir.Node) -> None:
    edit.replace_value(product.outputs[0], _operand(product))
    graph.remove(product, safe=True)


def _summary(folded: int, written: int, left: int) -> str:
    text = f"{folded} constant factors folded into {written} weights and biases"
    return f"{text}, {left} left alone" if left else text

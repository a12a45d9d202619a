"""Merge linear branches over one value, and convolutions that follow one another, into one convolution.

Convolutions of any kernel size, average poolings and the value itself, each with BatchNormalization, constant factors
and offsets, add up to one convolution if their strides are equal: the kernels are put into the smallest one that
holds all of them (`branches.windows` has the geometry), and groups into fewer of them with zeros between. RepVGG,
MobileOne, FastViT, RepViT and RepGhost are trained with such branches (arXiv:2101.03697, 2206.04040, 2303.14189,
2307.09283, 2211.06088). Linear layers are convolutions without spatial axes.

At the border a convolution reads zeros. A branch of another kernel reads the same zeros after merging. The second of
two convolutions reads zeros where the first one would give its bias, or what it computes from further outside: the
two are merged if the second does not pad, or if the first has one tap and no bias.

Leaves alone, and names: what would need more multiplications than the separate convolutions, such as a pointwise
convolution after a depthwise one; a layer whose output has other readers; average pooling that leaves the padding out
of its means, or rounds its size up; weights that are computed at run time. Merged weights are computed in float64,
rounded once, and have names of their own, so that the verifier compares no weight of the model with them. Bodies of
If and Loop are left as they are. Ensures that nothing that can be merged is left. Idempotent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import FreeNames, round_once
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, label
from nfexport.graph.shape_inference import infer_shapes
from nfexport.graph.value_facts import ValueFacts, dims
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.passes.folds.branches.expressions import LINEAR, Reader, Term
from nfexport.passes.folds.branches.linear_map import LinearMap
from nfexport.passes.folds.scales.factor import Refusal
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class MergeBranches(Pass):
    """Merge linear branches over one value, and convolutions that follow one another, into one convolution."""

    name = "merge-branches"
    # what fold-bn puts into a convolution is no branch; fold-scales finds fewer weights to put a factor into
    stage, after, before = Stage.FOLDS, ("fold-bn",), ("fold-scales",)
    options = (
        Option(
            flag="--merge-branches",
            kind="switch",
            help="Merge linear branches (RepVGG, MobileOne) into one convolution.",
            default_text="in every export, and with --optimize",
        ),
    )
    implied_by = (Bundle.EXPORT, Bundle.OPTIMIZE)
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = (
        "Conv(x, w₁, b₁) + Conv(x, w₂, b₂) + a·x + c  →  Conv(x, w₁' + w₂' + I', b₁ + b₂ + c)\n"
        "w' is w with zeros around it, up to the largest kernel; I'[c, c] is a[c] at the pixel itself\n"
        "Conv(Conv(x, w₁, b₁), w₂, b₂)  →  Conv(x, w, b),   w[o, i, t] = Σ w₂[o, m, t₂]·w₁[m, i, t₁],   t₁ + t₂ = t"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Merge in place and report which nodes became one convolution."""
        merged: dict[str, list[str]] = {}
        while True:
            reader = Reader(ValueFacts(model))
            found = _sweep(model.graph, reader)
            merged |= found
            if not found:
                break
        if merged:
            infer_shapes(model)
        layers = sum(map(len, merged.values()))
        left_alone = {label(node): reason for node, reason in reader.left_alone.items()}
        return self.done(
            model,
            changed=len(merged),
            summary=f"{layers} convolutions, with what is added to them, merged into {len(merged)}"
            + (f", {len(left_alone)} places left alone" if left_alone else ""),
            facts={"merged": merged},
            left_alone=left_alone,
        )


def _sweep(graph: ir.Graph, reader: Reader) -> dict[str, list[str]]:
    """Merge what can be merged, from the outputs to the inputs; return the layers that went into each new one."""
    merged: dict[str, list[str]] = {}
    names: FreeNames | None = None
    for node in reversed(list(graph)):
        if node.graph is None or not is_operator(node, *LINEAR):
            continue
        try:
            terms = reader.read(node)
            if not any(term.map.merged for term in terms):
                continue
            weights = [_weights(term) if term.map.merged else None for term in terms]
        except Refusal as refusal:
            if node in reader.left_alone or str(refusal).startswith("the merged"):
                reader.left_alone[node] = str(refusal)
            continue
        names = names or FreeNames(graph)
        merged |= _write(graph, node, terms, weights, names)
    return merged


def _weights(term: Term) -> tuple[Array, Array | None]:
    """Return weight and bias of a merged map. Raises Refusal if its type cannot hold them."""
    dtype, sign = term.map.dtype, -1.0 if term.negative else 1.0
    assert dtype is not None
    try:
        weight = round_once(sign * term.map.kernel(), dtype, "the merged weight")
        bias = round_once(sign * term.map.offset(), dtype, "the merged bias") if term.map.has_offset else None
    except PassError as error:
        raise Refusal(error.problem) from None
    return weight, bias


def _write(
    graph: ir.Graph,
    root: ir.Node,
    terms: list[Term],
    weights: list[tuple[Array, Array | None] | None],
    names: FreeNames,
) -> dict[str, list[str]]:
    """Put the convolutions and what is left of the sum in place of a node, and remove what nothing reads any more."""
    written: dict[str, list[str]] = {}
    read = list(root.inputs)
    summed: list[Term] = []
    for term, constants in zip(terms, weights, strict=True):
        if constants is None:
            summed.append(term)
            continue
        name = names.take(_beside(root, "Conv" if term.map.window else "Gemm"))
        node = _layer(graph, term.map, constants, name)
        _describe(node, root, term.value, names)
        graph.insert_before(root, node)
        written[label(node)] = list(term.map.layers)
        summed.append(dataclasses.replace(term, value=node.outputs[0], negative=False))
    result = summed[0].value if len(summed) == 1 else _sum(graph, root, summed, names)
    edit.put_in_place(result, root)
    for value in read:
        edit.release(value)
    return written


def _beside(root: ir.Node, operator: str) -> str:
    """Return a name for a node that takes the place of another: /stem/Conv for /stem/Add."""
    scope, slash, _ = (root.name or f"/{root.outputs[0].name}/").rpartition("/")
    return f"{scope}/{operator}" if slash else f"{root.name}/{operator}"


def _layer(graph: ir.Graph, merged: LinearMap, constants: tuple[Array, Array | None], name: str) -> ir.Node:
    """Return a Conv, or a Gemm for a map without spatial axes."""
    weight, bias = constants
    if not merged.window and bias is None:
        bias = np.zeros(merged.filters, weight.dtype)  # before opset 11 a Gemm has to have one
    stored = [("weight", weight)] if bias is None else [("weight", weight), ("bias", bias)]
    inputs = [merged.source, *(edit.add_initializer(graph, f"{name}/{part}", array) for part, array in stored)]
    if not merged.window:
        return ir.node("Gemm", inputs, {"transB": 1}, name=name)
    attributes: dict[str, int | list[int]] = {
        "dilations": [axis.dilation for axis in merged.window],
        "group": merged.groups,
        "kernel_shape": [axis.kernel for axis in merged.window],
        "pads": [axis.begin for axis in merged.window] + [axis.end for axis in merged.window],
        "strides": [axis.stride for axis in merged.window],
    }
    return ir.node("Conv", inputs, attributes, name=name)


def _sum(graph: ir.Graph, root: ir.Node, terms: list[Term], names: FreeNames) -> ir.Value:
    """Add up the terms, in front of a node, in their order but for a first one that is subtracted."""
    first = next((term for term in terms if not term.negative), terms[0])
    value = first.value
    if first.negative:
        value = _insert(graph, root, "Neg", [value], names)
    for term in terms:
        if term is not first:
            value = _insert(graph, root, "Sub" if term.negative else "Add", [value, term.value], names)
    return value


def _insert(graph: ir.Graph, root: ir.Node, operator: str, inputs: list[ir.Value], names: FreeNames) -> ir.Value:
    node = ir.node(operator, inputs, name=names.take(_beside(root, operator)))
    alike = all(dims(value) == dims(root.outputs[0]) for value in inputs)
    _describe(node, root, root.outputs[0] if alike else None, names)
    graph.insert_before(root, node)
    return node.outputs[0]


def _describe(node: ir.Node, root: ir.Node, like: ir.Value | None, names: FreeNames) -> None:
    """Give a new node a value of the type of the root's, and of the shape of another."""
    output = node.outputs[0]
    output.name = names.take(f"{node.name}_output")
    output.type = root.outputs[0].type
    output.shape = None if like is None else like.shape
    node.metadata_props.update(root.metadata_props)

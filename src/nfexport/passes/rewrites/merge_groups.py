"""Merge the narrow groups of a grouped convolution into groups of a multiple of 16 channels.

Applies to groups with I input and I output channels each. The zeros add exact zeros to each sum. If k does not divide
G, the channels are first padded to the next multiple: their producers get additional filters of zeros, and their
readers weights of 0 for them (widening.py has the algebra).

Why: runtimes compute in blocks of 8 or 16 channels. ONNX Runtime keeps a grouped convolution in its blocked layout if
the channels of a group are a multiple of the block (nchwc_transformer.cc: 16 with AVX-512 and on ARM, 8 with AVX2).
Narrower groups run one by one, at a tenth of the arithmetic throughput, between two layout changes. The products with
zeros cost less than that; docs/speed.md lists the measured widths.

Leaves alone, and names: groups of a width that is not in WORTH; groups with different numbers of input and output
channels; a weight that is computed at run time; channels that cannot be padded. Ensures that every convolution it
changed has groups of a multiple of 16 channels. Idempotent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import set_constant
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, label
from nfexport.passes.base import Bundle, Changes, Pass, Stage
from nfexport.passes.rewrites.convolutions.widening import Widening, WideningError
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


BLOCK = 16
"""Channels that a vector of 512 bits holds in float32."""

WORTH = frozenset({2, 4, 8, 12, 24})
"""Channels of a group for which merging was measured to win at every size; 20, 28 and 72 lose."""


class MergeGroups(Pass):
    """Merge the narrow groups of a grouped convolution into groups of a multiple of 16 channels."""

    name = "merge-groups"
    stage = Stage.REWRITES
    options = (
        Option(
            flag="--merge-groups",
            kind="switch",
            help="Merge narrow groups of grouped convolutions.",
            default_text="with --optimize",
        ),
    )
    implied_by = (Bundle.OPTIMIZE,)
    changes = Changes.WEIGHTS
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = (
        "Conv(x, w, groups = G)  →  Conv(x, w', groups = G / k),    w' block diagonal in w, zero elsewhere\n"
        "w'[o, (g mod k)·I + i] = w[o, i]  for filter o of group g,  0 for the other channels,  k = lcm(I, 16) / I"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Merge in place and report which convolutions changed."""
        graph = model.graph
        merged: dict[str, str] = {}
        left_alone: dict[str, str] = {}
        filled = 0
        for node in list(graph):
            if not is_operator(node, "Conv"):
                continue
            groups = group_count(node)
            weight = edit.constant_tensor(node.inputs[1])
            if groups == 1 or (weight is not None and weight.shape[1] == 1):
                continue  # depthwise convolutions have kernels of their own
            if weight is None:
                left_alone[label(node)] = "its weight is computed at run time; fold it first"
                continue
            width = weight.shape.numpy()[1]
            if width % BLOCK == 0:
                continue
            if reason := _why_not(weight.shape.numpy(), groups):
                left_alone[label(node)] = reason
                continue
            factor = math.lcm(width, BLOCK) // width
            missing = -groups % factor
            if missing:
                try:
                    widening = Widening(node, (groups + missing) * width)
                except WideningError as reason:
                    left_alone[label(node)] = f"its channels cannot be padded: {reason}"
                    continue
                widening.carry_out(graph)
                filled += 1
            _merge(graph, node, factor)
            merged[label(node)] = (
                f"{groups} groups of {width} → {node.attributes.get_int('group', 1)} of {width * factor}"
            )
        _check(graph, merged)
        return self.done(
            model,
            changed=len(merged),
            summary=f"{len(merged)} grouped convolutions merged to multiples of {BLOCK}, {filled} filled up"
            + (f", {len(left_alone)} left alone" if left_alone else ""),
            facts={"merged": merged, "filled_up": filled},
            left_alone=left_alone,
        )


def group_count(node: ir.Node) -> int:
    """Return how many groups a convolution has."""
    return node.attributes.get_int("group", 1)


def merge(weight: Array, groups: int, factor: int) -> Array:
    """Return the block-diagonal weight [O, factor · I, …] of groups / factor groups, from [O, I, …] of groups."""
    filters, width = weight.shape[:2]
    given = filters // groups
    result = np.zeros((filters, factor * width, *weight.shape[2:]), dtype=weight.dtype)
    for group in range(groups):
        place = group % factor
        rows = slice(group * given, (group + 1) * given)
        result[rows, place * width : (place + 1) * width] = weight[rows]
    return result


def _why_not(shape: Sequence[int], groups: int) -> str | None:
    filters, width = shape[:2]
    if filters != groups * width:
        return f"its groups take {width} channels and give {filters / groups:g}"
    if width not in WORTH:
        return f"groups of {width} channels are not worth it"
    return None


def _merge(graph: ir.Graph, node: ir.Node, factor: int) -> None:
    groups = group_count(node)
    weight = edit.constant(node.inputs[1])
    assert weight is not None
    set_constant(graph, node, 1, merge(weight, groups, factor))
    node.attributes["group"] = ir.AttrInt64("group", groups // factor)


def _check(graph: ir.Graph, merged: dict[str, str]) -> None:
    for node in graph:
        if label(node) not in merged:
            continue
        weight = edit.constant_tensor(node.inputs[1])
        if weight is None or weight.shape.numpy()[1] % BLOCK or weight.shape.numpy()[0] % group_count(node):
            raise PassError(f"node '{label(node)}' still has narrow groups after merge-groups", fix="report it")

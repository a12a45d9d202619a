"""Select the nodes that compute in int8.

Products (Conv, Gemm, MatMul) do, except the first, which reads the image, the last, which computes the scores,
those that the user names, and those with the most noise. A node between them follows if ONNX Runtime has an int8
kernel for it, all of its inputs come from int8 nodes, and an int8 node reads its output; so Gelu, Softmax and
normalisations stay in float as a whole.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence

import onnx

from nfexport.errors import InputError, OnnxFileError

PRODUCTS = ("Conv", "Gemm", "MatMul")

FOLLOWERS = (
    *("Add", "Mul", "Sigmoid", "Relu", "Clip", "Concat"),
    *("AveragePool", "GlobalAveragePool", "MaxPool"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"),
)
"""Operators with an int8 kernel in ONNX Runtime's CPU provider, and operators that only move values."""

FIRST, LAST, NAMED = "the first layer", "the last layer", "named by the user"
LEFT = "its weight is the left factor, for which there is no int8 kernel; pass --no-multiply-gates"


def products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the Conv, Gemm and MatMul nodes, in order. Raises OnnxFileError if there are none."""
    found = [node for node in graph.node if node.op_type in PRODUCTS and not node.domain]
    if not found:
        raise OnnxFileError("the file has no Conv, Gemm or MatMul to quantise", fix="leave it in float")
    return found


def kept_in_float(graph: onnx.GraphProto, patterns: Sequence[str] = ()) -> dict[str, str]:
    """Return the products that stay in float, by name, each with the reason.

    patterns name nodes; * matches any characters. Raises InputError for one that matches no product."""
    found = products(graph)
    names = [node.name for node in found]
    stored = {tensor.name for tensor in graph.initializer}
    kept = {node.name: LEFT for node in found if node.op_type == "MatMul" and node.input[0] in stored}
    kept |= {names[-1]: LAST, names[0]: FIRST}
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
            raise InputError(
                f"there is no Conv, Gemm or MatMul named '{pattern}'",
                fix=f"pass a name such as {', '.join(near or names[:3])}; * matches any characters",
            )
        for name in matching:
            kept.setdefault(name, NAMED)
    return {name: kept[name] for name in names if name in kept}


def quantisable(graph: onnx.GraphProto, kept: Mapping[str, str]) -> list[str]:
    """Return the names of the nodes to compute in int8, in order; kept are the products that stay in float."""
    stored = {tensor.name for tensor in graph.initializer}
    last = products(graph)[-1].name
    passing: set[str] = set()
    behind: set[str] = set()
    chosen: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        if node.name == last or behind.intersection(node.input):
            behind.update(node.output)  # what follows from the scores
            continue
        if node.domain or node.op_type not in PRODUCTS + FOLLOWERS:
            continue
        computed = [name for name in node.input if name and name not in stored]
        if node.op_type in FOLLOWERS and not (computed and passing.issuperset(computed)):
            continue
        # the output of a product that stays in float is rounded by the node that reads it
        passing.update(node.output)
        if node.name not in kept:
            chosen[node.name] = node
    # rounding what only float nodes read would gain nothing
    read = set[str]()
    for name, node in reversed(list(chosen.items())):
        if node.op_type in FOLLOWERS and not read.intersection(node.output):
            del chosen[name]
        else:
            read.update(node.input)
    return list(chosen)

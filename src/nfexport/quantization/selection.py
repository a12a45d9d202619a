"""Which nodes compute in int8.

Products (Conv, Gemm, MatMul) do, but for the first, which sees the picture, the last, which gives the scores,
those that a user names, and the worst by error. Nodes between them follow where ONNX Runtime has an int8 kernel
for them, all that they read comes from int8 nodes, and one of those reads them; so Gelu, Softmax and
normalisations stay in float whole.
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
"""Operators with an int8 kernel in ONNX Runtime's CPU provider, or that move numbers only."""

FIRST, LAST, NAMED = "the first layer", "the last layer", "named by the user"
LEFT = "its weight is the left factor, for which there is no int8 kernel; pass --no-multiply-gates"


def products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that multiply, in order. Raises OnnxFileError if there is none."""
    found = [node for node in graph.node if node.op_type in PRODUCTS and not node.domain]
    if not found:
        raise OnnxFileError("the file has no Conv, Gemm or MatMul to quantise", fix="leave it in float")
    return found


def kept_in_float(graph: onnx.GraphProto, patterns: Sequence[str] = ()) -> dict[str, str]:
    """Return the products that stay in float by name, each with the reason.

    patterns name nodes, with * for any characters. Raises InputError for one that names no product."""
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
                fix=f"name one such as {', '.join(near or names[:3])}; * stands for any characters",
            )
        for name in matching:
            kept.setdefault(name, NAMED)
    return {name: kept[name] for name in names if name in kept}


def quantisable(graph: onnx.GraphProto, kept: Mapping[str, str]) -> list[str]:
    """Return the names of the nodes that shall compute in int8, in order."""
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
        # a product that is kept in float hands on a tensor like any other: what reads it rounds it
        passing.update(node.output)
        if node.name not in kept:
            chosen[node.name] = node
    # what only float nodes read would be rounded for nothing
    read = set[str]()
    for name, node in reversed(list(chosen.items())):
        if node.op_type in FOLLOWERS and not read.intersection(node.output):
            del chosen[name]
        else:
            read.update(node.input)
    return list(chosen)

"""Proof that an int8 graph is the float graph with Q and DQ nodes inserted, and nothing else.

Without them it has the same nodes with the same attributes and the same wiring, and every stored integer q
represents the number x of the float file to within half a step:

    |s · (q − z) − x| ≤ s / 2

A Relu or Clip may be missing where the grid that follows has no wider range: rounding to it clips.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from nfexport.errors import PassError
from nfexport.quantization.grids import DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, Grid, Grids

SLACK = 1e-3
"""Slack of the bound, in steps: scales and quotients are float32, so a quotient of 127 is off by some 127 · 2⁻²⁴."""

CLIPPING = ("Relu", "Clip")


def prove_equivalence(source: onnx.ModelProto, quantised: onnx.ModelProto) -> None:
    """Raise PassError unless the int8 graph is the source with Q and DQ nodes inserted."""
    _Proof(source, quantised).run()


class _Proof:
    def __init__(self, source: onnx.ModelProto, quantised: onnx.ModelProto) -> None:
        self.source, self.quantised = source, quantised
        self.stored: Mapping[str, onnx.TensorProto] = {tensor.name: tensor for tensor in source.graph.initializer}
        self.grids = Grids(quantised)
        # names of float tensors of the source → names in the int8 graph of what equals them but for rounding
        self.known = {value.name: value.name for value in source.graph.input}

    def run(self) -> None:
        left = {node.name: node for node in self.quantised.graph.node}
        if len(left) != len(self.quantised.graph.node):
            raise _differs("two of its nodes have the same name")
        for node in self.source.graph.node:
            twin = left.pop(node.name, None)
            if twin is None:
                self._clipped(node)
                continue
            self._same(node, twin)
            self.known.update(zip(node.output, twin.output, strict=True))
        if extra := [node for node in left.values() if node.op_type not in (QUANTIZE_LINEAR, DEQUANTIZE_LINEAR)]:
            raise _differs(f"it has an extra node, '{extra[0].name}' ({extra[0].op_type})")
        for before, after in zip(self.source.graph.output, self.quantised.graph.output, strict=True):
            if before != after or self._float(after.name) != self.known[before.name]:
                raise _differs(f"its output '{after.name}' is a different tensor")
        if list(self.source.graph.input) != list(self.quantised.graph.input):
            raise _differs("its inputs differ")

    def _same(self, node: onnx.NodeProto, twin: onnx.NodeProto) -> None:
        attributes = [sorted(one.attribute, key=lambda entry: entry.name) for one in (node, twin)]
        shape = [(one.op_type, one.domain, len(one.input), len(one.output)) for one in (node, twin)]
        if attributes[0] != attributes[1] or shape[0] != shape[1]:
            raise _differs(f"the node '{node.name}' differs")
        for name, given in zip(node.input, twin.input, strict=True):
            if name in self.stored:
                self._number(node, name, given)
            elif (self._float(given) if given else given) != (self.known[name] if name else name):
                raise _differs(f"the node '{node.name}' does not read '{name}'")

    def _number(self, node: onnx.NodeProto, name: str, given: str) -> None:
        wanted = numpy_helper.to_array(self.stored[name])
        behind = self.grids.behind(given)
        if behind is None:
            found = self.grids.array(given) if given in self.grids.stored else None
            same = found is not None and found.dtype == wanted.dtype and np.array_equal(found, wanted)
        else:
            stored, grid = behind
            integers = self.grids.array(stored)
            error = np.abs(grid.dequantise(integers) - wanted) if integers.shape == wanted.shape else np.inf
            same = bool(np.all(error <= (0.5 + SLACK) * grid.steps(wanted.ndim)))
        if not same:
            raise _differs(f"'{name}' of the node '{node.name}' holds different numbers")

    def _float(self, name: str) -> str:
        """Return the tensor that was quantised if this one was dequantised from it, the tensor itself otherwise."""
        behind = self.grids.behind(name)
        return name if behind is None else self._float(behind[0])

    def _clipped(self, node: onnx.NodeProto) -> None:
        if node.op_type not in CLIPPING:
            raise _differs(f"the node '{node.name}' ({node.op_type}) is missing")
        kept = self.known[node.input[0]]
        lowest, highest = (0.0, np.inf) if node.op_type == "Relu" else self._limits(node)
        readers = [one for one in self.quantised.graph.node if kept in one.input]
        for reader in readers:
            grid: Grid | None = self.grids.grid(reader) if reader.op_type == QUANTIZE_LINEAR else None
            if grid is None or not _within(grid, lowest, highest):
                raise _differs(
                    f"the node '{node.name}' ({node.op_type}) is missing, and '{reader.name}' has a wider range"
                )
        self.known[node.output[0]] = kept

    def _limits(self, node: onnx.NodeProto) -> tuple[float, float]:
        ends = [*node.input[1:], "", ""][:2]
        low, high = (float(numpy_helper.to_array(self.stored[end])) if end in self.stored else None for end in ends)
        return -np.inf if low is None else low, np.inf if high is None else high


def _within(grid: Grid, lowest: float, highest: float) -> bool:
    """Return whether a grid of one scale lies within the limits, to the half step by which its ends are rounded."""
    low, high = grid.range
    half = 0.5 * float(grid.scale)
    return low >= lowest - (SLACK if lowest == 0 else 1) * half and high <= highest + half


def _differs(why: str) -> PassError:
    return PassError(
        f"the int8 graph is not equivalent to the float graph: {why}",
        fix="nothing was written; leave the file in float, and report it",
    )

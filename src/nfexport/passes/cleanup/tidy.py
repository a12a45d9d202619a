"""The pass `tidy`, and the conversion of Constant nodes that fold-constants shares."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.constants import FEWEST_WEIGHTS
from nfexport.graph.libraries import common_passes, ir
from nfexport.graph.recognisers import is_operator
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


SEPARATE_INITIALIZERS = 4
"""The first IR version in which an initializer need not be an input as well."""


class Tidy(Pass):
    """Normalise a graph: remove idle nodes, infer shapes, and store weights as initializers.

    Removes Identity nodes and dead nodes, and turns weights in Constant nodes into initializers. A file of IR version
    3 has to list each initializer as an input; it is raised to version 4, where such an input would be a default that
    the caller may override, and the inputs are removed.

    A dimension is either a number or a name from the graph's inputs ('batch'). Other names come from an earlier shape
    inference, which numbers them from the start in each run, so equal names need not mean equal sizes. They are
    removed, and the shapes are inferred again. Idempotent."""

    name = "tidy"
    stage = Stage.CLEANUP
    implied_by = (Bundle.EXPORT, Bundle.SURGERY)

    def call(self, model: ir.Model) -> PassOutcome:
        """Tidy in place and report the number of nodes removed."""
        listed = _raise_ir_version(model)
        lifted = lift_constants(model.graph, fewest=FEWEST_WEIGHTS)
        before = len(model.graph)
        with _branches_left_alone(model):
            common_passes.IdentityEliminationPass()(model)
        edit.remove_dead(model)
        infer_shapes(model)
        removed = before - len(model.graph)
        more = f", {lifted} weights in Constant nodes became initializers" if lifted else ""
        more += f", {listed} initializers are no longer listed as inputs (IR version 4)" if listed else ""
        return self.done(model, changed=removed + lifted + listed, summary=f"{removed} idle nodes removed{more}")


@contextlib.contextmanager
def _branches_left_alone(model: ir.Model) -> Iterator[None]:
    """Hide each Identity by which a body returns a value of the graph around it, until the block ends.

    A body has to return a value of its own, and onnx_ir would put the outer one in its place."""
    hidden = [
        node
        for node in model.graph.all_nodes()
        if is_operator(node, "Identity")
        and node.graph is not model.graph
        and node.outputs[0].is_graph_output()
        and (value := node.inputs[0]) is not None
        and value.graph is not node.graph
    ]
    try:
        for node in hidden:
            node.op_type = "OuterValue"
        yield
    finally:
        for node in hidden:
            node.op_type = "Identity"


def _raise_ir_version(model: ir.Model) -> int:
    """Bring a model of IR version 3 to version 4; return how many initializers it listed as inputs."""
    if model.ir_version >= SEPARATE_INITIALIZERS:
        return 0
    before = len(model.graph.inputs)
    common_passes.RemoveInitializersFromInputsPass()(model)
    model.ir_version = SEPARATE_INITIALIZERS
    return before - len(model.graph.inputs)


def lift_constants(graph: ir.Graph, *, fewest: int = 0) -> int:
    """Turn Constant nodes with at least this many elements into initializers, as external data and quantisers expect.

    Returns their number. Those in bodies stay, because not every runtime reads initializers there."""
    lifted = 0
    for node in list(graph):
        if not is_operator(node, "Constant"):
            continue
        output = node.outputs[0]
        array = edit.constant(output)
        if array is None or array.dtype.kind not in "fiub" or array.size < fewest or output.is_graph_output():
            continue
        new = edit.add_initializer(graph, str(output.name), array)
        edit.replace_value(output, new)
        graph.remove(node, safe=True)
        lifted += 1
    return lifted

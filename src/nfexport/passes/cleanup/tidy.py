"""The pass `tidy`, and the lifting of constants that folding uses too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import common_passes, ir
from nfexport.graph.recognisers import is_operator
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


SEPARATE_INITIALIZERS = 4
"""The IR version from which an initializer need not be an input too."""

FEWEST_WEIGHTS = 16
"""Numbers from which a constant counts as weights; smaller ones may be sizes, scales or exponents."""


class Tidy(Pass):
    """Bring a graph into the form that passes read: no idle nodes, known shapes, weights as initializers.

    Identity nodes and dead nodes go, and weights in Constant nodes become initializers. A file of IR version 3 lists
    each of its initializers as an input, because that version has no other way to hold a constant; here it becomes
    one of version 4, in which such an input would be a default that the caller may override.

    Dimensions are known by number or by a name that the graph's inputs give ('batch'). Other names come from an
    earlier shape inference, which numbers them anew in each run, so that equal names need not mean equal sizes:
    they are forgotten, and inferred again. Idempotent."""

    name = "tidy"
    stage = Stage.CLEANUP
    implied_by = (Bundle.EXPORT, Bundle.SURGERY)

    def call(self, model: ir.Model) -> PassOutcome:
        """Tidy in place and report how many nodes went."""
        listed = _raise_ir_version(model)
        lifted = lift_constants(model.graph, fewest=FEWEST_WEIGHTS)
        before = len(model.graph)
        common_passes.IdentityEliminationPass()(model)
        edit.remove_dead(model)
        infer_shapes(model)
        removed = before - len(model.graph)
        more = f", {lifted} weights in Constant nodes became initializers" if lifted else ""
        more += f", {listed} initializers are no longer listed as inputs (IR version 4)" if listed else ""
        return self.done(model, changed=removed + lifted + listed, summary=f"{removed} idle nodes removed{more}")


def _raise_ir_version(model: ir.Model) -> int:
    """Bring a model of IR version 3 to version 4; return how many initializers it listed as inputs."""
    if model.ir_version >= SEPARATE_INITIALIZERS:
        return 0
    before = len(model.graph.inputs)
    common_passes.RemoveInitializersFromInputsPass()(model)
    model.ir_version = SEPARATE_INITIALIZERS
    return before - len(model.graph.inputs)


def lift_constants(graph: ir.Graph, *, fewest: int = 0) -> int:
    """Turn Constant nodes of so many numbers or more into initializers, which external data and quantisers see, and
    return how many there were. Those in bodies stay: not every runtime reads initializers there."""
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

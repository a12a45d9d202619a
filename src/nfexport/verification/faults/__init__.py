"""Faults that real exports had, put into copies of a file to show that a check notices them.

A kind of fault is a function `places(model)` in a file of this package that yields a Fault for each place where
it applies. To add one, write such a function and put it into its file's KINDS.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from nfexport.verification.faults.fault import INSERTED, Fault

__all__ = ["Fault", "all_faults", "inject", "at_fault"]


def all_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield every fault that has a place in the model, kind by kind, in the order of the nodes."""
    from nfexport.verification.faults import interface_faults as interface
    from nfexport.verification.faults import structure_faults as structure
    from nfexport.verification.faults import weight_faults as weights

    for module in (weights, structure, interface):
        for kind in module.KINDS:
            yield from kind(model)


def inject(model: onnx.ModelProto, fault: Fault) -> onnx.ModelProto:
    """Return a copy of the model with the fault in it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    fault.change(copy)
    return copy


def at_fault(mutant: onnx.ModelProto, fault: Fault) -> set[str]:
    """Return the nodes that a diagnosis of a model with this fault is right to name: the node with the fault, or
    those that were inserted, and their direct consumers."""
    own = "" if fault.inserted else fault.node
    changed = [node for node in mutant.graph.node if node.name == own or node.name.startswith(f"{INSERTED}_")]
    tensors = {name for node in changed for name in node.output}
    readers = [node for node in mutant.graph.node if not tensors.isdisjoint(node.input)]
    return {node.name for node in (*changed, *readers)}

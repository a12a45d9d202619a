"""Faults that real exports had, put into a copy of a file: to show that a check notices them.

A kind of fault is a function `places(model)` in a file of this package that yields a Fault for each place where
it applies. To add one, write such a function and put it into its file's KINDS.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from nfexport.faults.fault import Fault

__all__ = ["Fault", "all_faults", "inject"]


def all_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield every fault that has a place in the model, kind by kind, in the order of the nodes."""
    from nfexport.faults import interface, structure, weights

    for module in (weights, structure, interface):
        for kind in module.KINDS:
            yield from kind(model)


def inject(model: onnx.ModelProto, fault: Fault) -> onnx.ModelProto:
    """Return a copy of the model with the fault in it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    fault.change(copy)
    return copy

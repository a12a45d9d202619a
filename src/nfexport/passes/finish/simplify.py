"""Let onnxsim simplify the graph, and keep what it does only where that is no loss.

onnxsim takes patterns apart that runtimes fuse (of 52 Gelus in nfnet_f0, ONNX Runtime fuses 2 afterwards),
which the last rule notices. Whether the numbers are right is left to the verification, which
compares every file with its model or its source. Weights that onnxsim leaves as Constant nodes become
initializers again. Without effect, and with the reason, where it is not kept. Needs the package onnxsim.
"""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.errors import MissingPackage
from nfexport.graph.constants import free_name, stored_bytes
from nfexport.graph.libraries import common_passes, ir, onnx
from nfexport.passes.base import Changes, Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


LARGEST = 2**31 - 1
"""Bytes that onnxsim takes as one message."""


class Simplify(Pass):
    """Let onnxsim simplify the graph, and keep what it does only where that is no loss."""

    name = "simplify"
    # sees what a runtime will see
    stage = Stage.FINISH
    options = (
        Option(
            flag="--simplify",
            help="Run onnxsim last, and keep its result if that is right.",
            section="Output file",
        ),
    )
    changes = Changes.WEIGHTS
    formula = (
        "kept if   the interface, the opset and the metadata are the same, onnx's checker takes the graph,\n"
        "and ONNX Runtime's own optimiser makes of it no more nodes than of the graph before"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Simplify in place. Raises MissingPackage if onnxsim is not installed."""
        try:
            import onnxsim
        except ImportError as error:
            raise MissingPackage(
                f"--simplify needs the package onnxsim, which cannot be imported ({error})",
                fix="pip install 'nfexport[simplify]'",
            ) from error
        if stored_bytes(model.graph) > LARGEST:
            return self._not_kept(model, "onnxsim takes no model past 2 GiB")
        proto = ir.to_proto(model)
        try:
            simple, _ = onnxsim.simplify(proto)
            onnx.checker.check_model(simple, full_check=True)
        except Exception as error:  # noqa: BLE001 - onnxsim raises whatever its C++ raises
            return self._not_kept(
                model, f"onnxsim gave up: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}"
            )
        if _interface(simple) != _interface(proto):
            return self._not_kept(model, "it changes the interface or the opset")
        other = ir.from_proto(simple)
        common_passes.LiftConstantsToInitializersPass(lift_all_constants=True)(other)
        before, after = _optimised_nodes(proto), _optimised_nodes(ir.to_proto(other))
        if after > before:
            return self._not_kept(
                model, f"ONNX Runtime makes {after} nodes of it, and {before} of the graph as it was"
            )
        counts = _counts(model), _counts(other)
        changed = {
            name: f"{counts[0][name]} → {counts[1][name]}"
            for name in sorted({*counts[0], *counts[1]})
            if counts[0][name] != counts[1][name]
        }
        if not changed:
            return self._not_kept(model, "it changes nothing")
        model.graph = other.graph
        for node in model.graph:
            if not node.name:
                node.name = free_name(model.graph, f"/simplify/{node.op_type}")
        text = ", ".join(f"{name} {change}" for name, change in changed.items())
        return self.done(model, changed=len(changed), summary=f"simplified: {text}", facts={"kept": True, **changed})

    def _not_kept(self, model: ir.Model, reason: str) -> PassOutcome:
        facts = {"kept": False, "reason": reason}
        return self.done(model, changed=0, summary=f"left as it was: {reason}", facts=facts)


def _interface(proto: onnx.ModelProto) -> tuple[object, ...]:
    ends = [
        (value.name, value.type.SerializeToString(deterministic=True))
        for value in (*proto.graph.input, *proto.graph.output)
    ]
    return ends, sorted((entry.domain, entry.version) for entry in proto.opset_import)


def _counts(model: ir.Model) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in model.graph)


def _optimised_nodes(proto: onnx.ModelProto) -> int:
    """Return how many nodes ONNX Runtime's optimiser leaves, before it adapts the graph to one machine."""
    import onnxruntime

    named = onnx.ModelProto()
    named.CopyFrom(proto)
    for number, node in enumerate(named.graph.node):
        node.name = str(number)  # ONNX Runtime takes no two nodes of one name, and passes before may leave some
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(named.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return len(onnx.load(target, load_external_data=False).graph.node)

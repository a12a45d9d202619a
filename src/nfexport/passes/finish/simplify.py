"""Simplify the graph with onnxsim, and keep the result only if nothing is lost.

onnxsim breaks up patterns that runtimes fuse (ONNX Runtime fuses 2 of the 52 Gelus of nfnet_f0 afterwards), which the
last condition detects. This pass does not check the numbers; nfexport compares every file with its model or its
source anyway. Weights that onnxsim leaves as Constant nodes become initializers again. If the result is rejected, the
graph stays unchanged and the report gives the reason. Requires the package onnxsim.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.errors import MissingPackage
from nfexport.graph.constants import FreeNames, stored_bytes
from nfexport.graph.libraries import common_passes, ir, onnx
from nfexport.passes.base import Changes, Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


LARGEST = 2**31 - 1
"""The largest model, in bytes, that onnxsim accepts as one message."""


class Simplify(Pass):
    """Simplify the graph with onnxsim, and keep the result only if nothing is lost."""

    name = "simplify"
    # after every pass that changes what a runtime will see
    stage = Stage.FINISH
    options = (
        Option(
            flag="--simplify",
            help="Simplify with onnxsim, and keep the result if nothing is lost.",
            section="Output file",
        ),
    )
    changes = Changes.WEIGHTS
    formula = (
        "kept if   interface, opset and metadata are unchanged, onnx's checker accepts the graph,\n"
        "and ONNX Runtime's optimiser leaves no more nodes than it does for the original graph"
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
            return self._not_kept(model, "onnxsim does not accept models above 2 GiB")
        proto = ir.to_proto(model)
        try:
            simple, _ = onnxsim.simplify(proto)
            onnx.checker.check_model(simple, full_check=True)
        except Exception as error:  # noqa: BLE001 - onnxsim passes on any C++ exception
            return self._not_kept(
                model, f"onnxsim failed: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}"
            )
        if _interface(simple) != _interface(proto):
            return self._not_kept(model, "it changes the interface or the opset")
        other = ir.from_proto(simple)
        common_passes.LiftConstantsToInitializersPass(lift_all_constants=True)(other)
        before, after = _optimised_nodes(proto), _optimised_nodes(ir.to_proto(other))
        if after > before:
            return self._not_kept(
                model, f"ONNX Runtime's optimiser leaves {after} nodes, and {before} of the original graph"
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
        free = FreeNames(model.graph)
        for node in model.graph:
            if not node.name:
                node.name = free.take(f"/simplify/{node.op_type}")
        text = ", ".join(f"{name} {change}" for name, change in changed.items())
        return self.done(model, changed=len(changed), summary=f"simplified: {text}", facts={"kept": True, **changed})

    def _not_kept(self, model: ir.Model, reason: str) -> PassOutcome:
        facts = {"kept": False, "reason": reason}
        return self.done(model, changed=0, summary=f"unchanged: {reason}", facts=facts)


def _interface(proto: onnx.ModelProto) -> tuple[object, ...]:
    ends = [
        (value.name, value.type.SerializeToString(deterministic=True))
        for value in (*proto.graph.input, *proto.graph.output)
    ]
    return ends, sorted((entry.domain, entry.version) for entry in proto.opset_import)


def _counts(model: ir.Model) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in model.graph)


def _optimised_nodes(proto: onnx.ModelProto) -> int:
    """Return how many nodes ONNX Runtime's optimiser leaves, without its hardware-specific rewrites."""
    import tempfile

    import onnxruntime

    named = onnx.ModelProto()
    named.CopyFrom(proto)
    for number, node in enumerate(named.graph.node):
        node.name = str(number)  # ONNX Runtime refuses duplicate node names, which earlier passes may leave
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(named.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return len(onnx.load(target, load_external_data=False).graph.node)

"""From a torch model to a graph at its opset: trace it with the first exporter that can, and run the passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nfexport.errors import ExportError, OpsetTooOld, PassError
from nfexport.passes.base import Pass
from nfexport.passes.plan import run
from nfexport.progress import Stages

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from nfexport.passes.report import PassReport
    from nfexport.tracing import Exporter, TraceRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracedGraph:
    """A graph after its passes, the exporter that traced it, and what each pass reports."""

    model: ir.Model
    exporter: Exporter
    reports: Sequence[PassReport]


class Tracer:
    """Traces one module, again if an exporter cannot or the opset turns out to be too old.

    With rebuild, which builds the module again, nothing else needs the module's weights: the graph alone has them
    after a trace, and passes that replace them free their memory."""

    def __init__(
        self, module: torch.nn.Module, exporter: str, stages: Stages, rebuild: Callable[[], torch.nn.Module] | None
    ) -> None:
        self._module, self._exporter, self._stages, self._rebuild = module, exporter, stages, rebuild
        self._released = False

    def graph(self, request: TraceRequest, passes: Sequence[Pass]) -> TracedGraph:
        """Trace and run the passes with the first exporter whose graph can be brought to the opset.

        Raises OpsetTooOld if an operator has no form at the opset of the request, and ExportError with the reason of
        each exporter if none can express the model at all."""
        from nfexport import tracing

        failures: list[ExportError | PassError] = []
        for name in tracing.order_of_exporters(request.opset, self._exporter):  # type: ignore[arg-type]  # validated
            try:
                with self._stages.stage("trace"):
                    model = self._trace(request, name)
                with self._stages.stage("passes"):
                    return TracedGraph(
                        model=model, exporter=name, reports=run(model, passes, self._stages.progress.step)
                    )
            except (ExportError, PassError) as error:
                failures.append(error)
        last = failures[-1]
        reasons = "; ".join(dict.fromkeys(error.problem for error in failures))
        problem = f"the model cannot be exported at opset {request.opset} ({reasons})"
        too_old = next((error for error in failures if isinstance(error, OpsetTooOld)), None)
        if too_old is None or too_old.needed is None:
            raise ExportError(problem, fix=last.fix) from last
        raise OpsetTooOld(
            problem,
            fix=f"pass --opset {too_old.needed}, the first at which {too_old.operator} works",
            operator=too_old.operator,
            needed=too_old.needed,
        ) from too_old

    def _trace(self, request: TraceRequest, exporter: Exporter) -> ir.Model:
        from nfexport import tracing
        from nfexport.sources.model import released_weights

        if self._released and self._rebuild is not None:
            released_weights.take_weights(self._module, self._rebuild())
        model = tracing.trace(self._module, request, exporter)
        if self._rebuild is not None:
            released_weights.release_weights(self._module)
            self._released = True
        return model

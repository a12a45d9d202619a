"""From a torch model to an ONNX graph whose weights are the model's own tensors, shared and not copied.

There is one file for each exporter of torch: torchscript (opsets up to 17) and dynamo (18 and later). Each returns a
graph at an opset that it can write; the passes convert it to the opset asked for.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal, Protocol, cast

import onnx_ir as ir
import torch

from nfexport import __version__, process
from nfexport.errors import ExportError
from nfexport.graph.meta_keys import PARAMETERS
from nfexport.tracing.request import DYNAMO_FROM_OPSET, Exporter, TraceRequest
from nfexport.tracing.sequences import take_pieces_directly
from nfexport.tracing.shared_weights import named_tensors
from nfexport.tracing.traceable_modules import traceable

__all__ = ["Exporter", "TraceRequest", "order_of_exporters", "trace"]

_LONGEST_REASON = 240
"""Characters of an exporter's own message that an error quotes."""


class _ExporterModule(Protocol):
    def trace(self, module: torch.nn.Module, request: TraceRequest) -> ir.Model:
        """Trace the module; raise whatever torch raises."""


def order_of_exporters(opset: int, wanted: Literal["auto"] | Exporter) -> tuple[Exporter, ...]:
    """Return the exporters to try, best first."""
    if wanted != "auto":
        return (wanted,)
    return ("torchscript", "dynamo") if opset < DYNAMO_FROM_OPSET else ("dynamo",)


def trace(module: torch.nn.Module, request: TraceRequest, exporter: Exporter) -> ir.Model:
    """Trace with one exporter; the graph's weights are the module's own tensors.

    Raises ExportError with the exporter's reason if it cannot express the model."""
    try:
        model = _trace_with(exporter, module, request)
    except Exception as error:  # exporters raise whatever the model or torch raises
        raise ExportError(
            f"{exporter}: {_first_line(error)}", fix="try another --exporter, --opset or --image-size"
        ) from error
    take_pieces_directly(model)
    for value in model.graph.outputs:
        if (shape := request.output_shapes.get(str(value.name))) is not None and len(shape) > 1:
            value.shape = ir.Shape(shape)
    model.producer_name = "nfexport"
    model.producer_version = __version__
    model.meta[PARAMETERS] = frozenset(named_tensors(module))
    return model


def _trace_with(name: Exporter, module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    exporter = cast(_ExporterModule, importlib.import_module(f"nfexport.tracing.{name}"))
    # exporters warn about tracing and about themselves; whether the file is right is verified, not guessed
    with (
        process.warnings_ignored(),
        process.logging_disabled(),
        # dynamo prints the graphs that it fails on
        process.standard_error_discarded(),
        traceable(module, constant_pads=True),
        torch.no_grad(),
    ):
        return exporter.trace(module, request)


def _first_line(error: BaseException) -> str:
    cause: Any = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = lines[0] if lines else type(cause).__name__
    # the exporters append a dump of the graph, which does not fit into one sentence
    text = text.partition(" [Caused by")[0].rstrip(".")
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"

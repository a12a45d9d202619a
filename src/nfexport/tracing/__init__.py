"""From a torch model to an ONNX graph whose weights are the model's own tensors, shared and not copied.

One file an exporter: torchscript (opsets up to 17) and dynamo (18 and later). Each returns a graph at an
opset that it can write; the passes bring it to the opset asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast

import onnx_ir as ir
import torch

from nfexport import __version__
from nfexport.errors import ExportError
from nfexport.graph.standardisation import Standardisation
from nfexport.passes.cleanup.name_by_module import PARAMETERS
from nfexport.tracing.patching import traceable
from nfexport.tracing.weights import named_tensors

Exporter = Literal["torchscript", "dynamo"]

_LONGEST_REASON = 240
"""Characters of an exporter's own words that are passed on."""

DYNAMO_FROM_OPSET = 18
"""The oldest opset that torch's dynamo exporter writes; asked for an older one it writes this, silently."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """What is traced: example input [batch, channels, height, width] float32, names, and a wanted opset.

    With dynamic_size height and width are symbols, as is a dynamic batch. standardised names convolution
    weights that the fold-ws pass standardises afterwards: an exporter may leave the computation out."""

    batch: int | Literal["dynamic"]
    in_channels: int
    image_size: tuple[int, int]
    opset: int
    input_name: str
    output_names: tuple[str, ...]
    dynamic_size: bool = False
    standardised: Mapping[str, Standardisation] = dataclasses.field(default_factory=dict)

    def symbols(self) -> dict[int, str]:
        """Return the axes of the input that are symbols, with their names."""
        batch = {0: "batch"} if self.batch == "dynamic" else {}
        return batch | ({2: "height", 3: "width"} if self.dynamic_size else {})

    def example(self) -> torch.Tensor:
        """Return the input to trace with. A dynamic batch is traced with 2: a batch of 1 gets specialised."""
        batch = 2 if self.batch == "dynamic" else self.batch
        return torch.zeros(batch, self.in_channels, *self.image_size)


class _ExporterModule(Protocol):
    def trace(self, module: torch.nn.Module, request: TraceRequest) -> ir.Model: ...


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
    model.producer_name = "nfexport"
    model.producer_version = __version__
    model.meta[PARAMETERS] = frozenset(named_tensors(module))
    return model


def _trace_with(name: Exporter, module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    exporter = cast(_ExporterModule, importlib.import_module(f"nfexport.tracing.{name}"))
    loggers = [logging.getLogger("torch.onnx"), logging.getLogger("onnxscript"), logging.getLogger("onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), traceable(module, constant_pads=True), torch.no_grad():
        # exporters warn about tracing and about themselves; whether the file is right is verified, not guessed
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            return exporter.trace(module, request)
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    cause: Any = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = lines[0] if lines else type(cause).__name__
    # the exporters go on with a dump of the graph, which helps nobody in one sentence
    text = text.partition(" [Caused by")[0].rstrip(".")
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"

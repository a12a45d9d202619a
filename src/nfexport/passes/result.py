"""The result of a graph pass, as onnx_ir's passes return it."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from nfexport.passes.report import PassReport


@dataclasses.dataclass
class PassOutcome(ir.passes.PassResult):
    """The model, whether it was modified, and what the pass reports."""

    report: PassReport

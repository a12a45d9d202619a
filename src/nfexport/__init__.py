"""nfexport: from a timm name to an ONNX file that is small, fast, self-describing and proven.

    nfexport.export("nfnet_f0", opset=11, fold_ws=True)   write nfnet_f0.onnx, verified
    nfexport.verify("nfnet_f0.onnx")                      compare a file with the model that it claims to be
    nfexport.surgery("theirs.onnx", "ours.onnx", fold_ws=True)    graph passes on any ONNX file
    nfexport.evaluate("nfnet_f0.onnx", "val")             top-1 and top-5 on a folder of pictures
    nfexport.quantize("nfnet_l0.onnx", "int8.onnx", calibrate="photos/")    its int8 form, and what that costs
    nfexport.inspect("nfnet_f0.onnx")                     what is in a file
    nfexport.check_golden("nfnet_f0.onnx")                is it what was recorded? (without torch)
    nfexport.classify("nfnet_f0.onnx", "photos/")         what is on these pictures? (without torch)
    nfexport.card("nfnet_f0.onnx")                        its model card, in Markdown

Names are resolved when they are first used, so that importing nfexport costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nfexport.cards.document import card
    from nfexport.errors import NfexportError
    from nfexport.goldens.golden_check import GoldenCheck, check_golden
    from nfexport.goldens.writer import GoldenResult
    from nfexport.images.classify.classifier import Prediction, classify
    from nfexport.images.evaluate.evaluation import Evaluation
    from nfexport.images.evaluate.evaluator import evaluate
    from nfexport.inspection import FileFacts, inspect
    from nfexport.inspection.difference import Difference, diff
    from nfexport.quantization.int8 import Int8
    from nfexport.quantization.operation import quantize
    from nfexport.quantization.quantize_result import QuantizeResult
    from nfexport.recipe.recipe import Recipe
    from nfexport.workflows.export import export
    from nfexport.workflows.golden import record_golden
    from nfexport.workflows.preset import export_preset
    from nfexport.workflows.results import ExportResult, VerifyResult
    from nfexport.workflows.subjects import NamedModel
    from nfexport.workflows.surgery import SurgeryResult, surgery
    from nfexport.workflows.verify import verify

__all__ = [
    "export",
    "export_preset",
    "verify",
    "surgery",
    "evaluate",
    "quantize",
    "inspect",
    "diff",
    "record_golden",
    "check_golden",
    "classify",
    "card",
    "Recipe",
    "ExportResult",
    "VerifyResult",
    "NamedModel",
    "SurgeryResult",
    "Evaluation",
    "Int8",
    "QuantizeResult",
    "FileFacts",
    "Difference",
    "GoldenResult",
    "GoldenCheck",
    "Prediction",
    "NfexportError",
    "__version__",
]

_HOMES = {
    "export": "nfexport.workflows.export",
    "export_preset": "nfexport.workflows.preset",
    "verify": "nfexport.workflows.verify",
    "ExportResult": "nfexport.workflows.results",
    "VerifyResult": "nfexport.workflows.results",
    "NamedModel": "nfexport.workflows.subjects",
    "surgery": "nfexport.workflows.surgery",
    "SurgeryResult": "nfexport.workflows.surgery",
    "evaluate": "nfexport.images.evaluate.evaluator",
    "Evaluation": "nfexport.images.evaluate.evaluation",
    "quantize": "nfexport.quantization.operation",
    "Int8": "nfexport.quantization.int8",
    "QuantizeResult": "nfexport.quantization.quantize_result",
    "inspect": "nfexport.inspection",
    "FileFacts": "nfexport.inspection",
    "diff": "nfexport.inspection.difference",
    "Difference": "nfexport.inspection.difference",
    "record_golden": "nfexport.workflows.golden",
    "check_golden": "nfexport.goldens.golden_check",
    "GoldenResult": "nfexport.goldens.writer",
    "GoldenCheck": "nfexport.goldens.golden_check",
    "card": "nfexport.cards.document",
    "classify": "nfexport.images.classify.classifier",
    "Prediction": "nfexport.images.classify.classifier",
    "Recipe": "nfexport.recipe",
    "NfexportError": "nfexport.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nfexport' has no attribute '{name}'")
    home, _, own_name = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(home), own_name or name)
    globals()[name] = value
    return value

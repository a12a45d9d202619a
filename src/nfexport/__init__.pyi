from .cards.document import card as card
from .errors import NfexportError as NfexportError
from .goldens.golden_check import GoldenCheck as GoldenCheck
from .goldens.golden_check import check_golden as check_golden
from .goldens.writer import GoldenResult as GoldenResult
from .images.classify.classifier import Prediction as Prediction
from .images.classify.classifier import classify as classify
from .images.evaluate.evaluation import Evaluation as Evaluation
from .images.evaluate.evaluator import evaluate as evaluate
from .inspection.difference import Difference as Difference
from .inspection.difference import diff as diff
from .inspection.facts import FileFacts as FileFacts
from .inspection.facts import inspect as inspect
from .passes.base import Pass as Pass
from .quantization.int8 import Int8 as Int8
from .quantization.operation import quantize as quantize
from .quantization.quantize_result import QuantizeResult as QuantizeResult
from .recipe.export_options import ExportOptions as ExportOptions
from .recipe.export_options import SurgeryOptions as SurgeryOptions
from .recipe.recipe import Recipe as Recipe
from .recipe.request import RecipeRequest as RecipeRequest
from .recipe.versions import __version__ as __version__
from .workflows.compare import compare as compare
from .workflows.compare_result import CompareResult as CompareResult
from .workflows.export import export as export
from .workflows.golden import record_golden as record_golden
from .workflows.preset import export_preset as export_preset
from .workflows.rebuild import RebuildResult as RebuildResult
from .workflows.rebuild import rebuild as rebuild
from .workflows.results import ExportResult as ExportResult
from .workflows.results import VerifyResult as VerifyResult
from .workflows.subjects import NamedModel as NamedModel
from .workflows.surgery import SurgeryResult as SurgeryResult
from .workflows.surgery import surgery as surgery
from .workflows.verify import verify as verify

__all__ = [
    "CompareResult",
    "Difference",
    "Evaluation",
    "ExportOptions",
    "ExportResult",
    "FileFacts",
    "GoldenCheck",
    "GoldenResult",
    "Int8",
    "NamedModel",
    "NfexportError",
    "Pass",
    "Prediction",
    "QuantizeResult",
    "RebuildResult",
    "Recipe",
    "RecipeRequest",
    "SurgeryOptions",
    "SurgeryResult",
    "VerifyResult",
    "__version__",
    "card",
    "check_golden",
    "classify",
    "compare",
    "diff",
    "evaluate",
    "export",
    "export_preset",
    "inspect",
    "quantize",
    "rebuild",
    "record_golden",
    "surgery",
    "verify",
]

"""Every error that nfexport raises on purpose.

    NfexportError                exit code 2 unless said otherwise
    ├── InputError               invalid usage or input: a name, a file, an option
    │   ├── UnknownModelError    no architecture or pretrained tag of that name
    │   ├── RecipeError          options or a recipe that contradict themselves or the model
    │   │   └── UnknownOption    an option that nothing declares
    │   ├── CheckpointError      a weights file that cannot be read or does not fit the model
    │   ├── OnnxFileError        a file that is not ONNX, is damaged, or lacks what is asked of it
    │   ├── ImageError           an image that is missing, damaged or of the wrong size
    │   ├── PresetError          a preset that is unknown, or a preset file that contradicts itself
    │   ├── GoldenError          a golden that is missing, damaged, or of another model
    │   └── OutputError          an output file that cannot be written
    ├── ExportError              the exporter cannot express this model as asked
    ├── PassError                a graph pass refuses the graph, or misses its postcondition
    │   └── OpsetTooOld          an operator has no form at the opset asked for
    ├── MissingError             exit code 3: something outside is missing
    │   ├── WeightsUnreachable   trained weights that are not available here
    │   └── MissingPackage       an optional package that is not installed
    └── VerificationFailed       exit code 1: the file does not equal the model

Each error holds what is wrong (`problem`: the input and the cause) and how to fix it (`fix`); the command line prints
both as one sentence on stderr. A numerical mismatch found by `nfexport.verify` is a
report, not an exception; only `nfexport.export` raises VerificationFailed, as it then writes no file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

EXIT_OK = 0
EXIT_VERIFICATION = 1
EXIT_INPUT = 2
EXIT_MISSING = 3


class NfexportError(Exception):
    """Base of all errors raised on purpose: `problem` says what is wrong, `fix` how to fix it."""

    exit_code = EXIT_INPUT

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


class InputError(NfexportError):
    """Invalid usage or input."""


class UnknownModelError(InputError):
    """No architecture, or no pretrained tag, of that name."""


class RecipeError(InputError):
    """Options or a recipe that contradict themselves or the model."""


class UnknownOption(RecipeError):  # noqa: N818 (a TypeError in Python, as for any keyword)
    """An option that nothing declares."""


class CheckpointError(InputError):
    """A weights file that cannot be read or does not fit the model."""


class OnnxFileError(InputError):
    """A file that is not ONNX, is damaged, or lacks what is asked of it."""


class ImageError(InputError):
    """An image that is missing, damaged or of the wrong size."""


class PresetError(InputError):
    """A preset that is unknown, or a preset file that contradicts itself."""


class GoldenError(InputError):
    """A golden that is missing, damaged, or of another model."""


class OutputError(InputError):
    """An output file that cannot be written."""


class ExportError(NfexportError):
    """The exporter cannot express this model as asked."""


class PassError(NfexportError):
    """A graph pass refuses the graph, or misses its postcondition."""


class OpsetTooOld(PassError):  # noqa: N818 (a state of the graph rather than a mistake)
    """An operator has no form at the opset asked for; `needed` is the smallest later opset at which the whole graph
    has one, None if there is none."""

    def __init__(self, problem: str, *, fix: str, operator: str, needed: int | None) -> None:
        super().__init__(problem, fix=fix)
        self.operator = operator
        self.needed = needed


class MissingError(NfexportError):
    """Something outside nfexport is missing."""

    exit_code = EXIT_MISSING


class WeightsUnreachable(MissingError):  # noqa: N818 (a state of the world rather than a mistake)
    """Trained weights that are not available here."""


class MissingPackage(MissingError):  # noqa: N818
    """An optional package that is not installed."""


class VerificationFailed(NfexportError):  # noqa: N818
    """The file does not equal the model; `report` holds the numbers."""

    exit_code = EXIT_VERIFICATION

    def __init__(self, problem: str, *, fix: str, report: Any = None) -> None:
        super().__init__(problem, fix=fix)
        self.report = report


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x' or 'y'?" for the names that are most like one that does not exist; '' if none is."""
    import difflib

    alike = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=3)
    return f"did you mean {' or '.join(map(repr, alike))}?" if alike else ""

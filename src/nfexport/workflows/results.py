"""The results of an export and a verification, as values that can be written as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
from nfexport.inspection import FileFacts
from nfexport.recipe.recipe import Recipe, Weights

if TYPE_CHECKING:
    from nfexport.passes.report import PassReport
    from nfexport.quantization.quantize_result import QuantizeResult
    from nfexport.verification.diagnosis.diagnosis import Diagnosis
    from nfexport.verification.self_test import SelfTest
    from nfexport.verification.structure.structure_check import StructureCheck
    from nfexport.verification.verification_report import VerificationReport


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertedResult:
    """An exported file in another format: its files, the first of which stands for it.

    size is that of all files in bytes. verification is None if it was not asked for, or no runtime reads the
    format."""

    format: str
    title: str
    files: tuple[Path, ...]
    options: dict[str, Any]
    size: int
    verification: VerificationReport | None

    @property
    def path(self) -> Path:
        """The file that stands for the others."""
        return self.files[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON; size in bytes, of all files together."""
        return {
            "format": self.format,
            "path": str(self.path),
            "files": [str(path) for path in self.files],
            "options": self.options,
            "size": self.size,
            "verification": None if self.verification is None else self.verification.to_dict(),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What an export made: the file, its recipe, its facts, and what each stage reports.

    seconds maps each stage to its duration. verification is None if it was not asked for, converted if only
    the ONNX file was, quantization if the file is float; else verification is that of the float file which was
    quantised. notes are sentences on what was read, seeded or decided without being asked for."""

    path: Path
    recipe: Recipe
    facts: FileFacts
    passes: Sequence[PassReport]
    verification: VerificationReport | None
    seconds: dict[str, float]
    converted: ConvertedResult | None = None
    quantization: QuantizeResult | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "path": str(self.path),
            "notes": list(self.notes),
            "recipe": self.recipe.to_dict(),
            "recipe_sha256": self.recipe.digest,
            "weights": self.recipe.weights.describe(),
            "file": self.facts.to_dict(),
            "passes": [msgspec.structs.asdict(report) for report in self.passes],
            "verification": None if self.verification is None else self.verification.to_dict(),
            "converted": None if self.converted is None else self.converted.to_dict(),
            "quantization": None if self.quantization is None else self.quantization.to_dict(),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What a verification found: a report on the numbers for each runtime, and where file and recipe disagree.

    model_name, weights and image_size, (height, width) in pixels, are those of the model that the file was
    compared with; recipe is None if a user named it, for a file without a recipe. structure says whether the graph is
    the one that the recipe gives, None where nothing is known of it."""

    path: Path
    recipe: Recipe | None
    model_name: str
    weights: Weights
    image_size: tuple[int, int] | None
    reports: tuple[VerificationReport, ...]
    disagreements: tuple[str, ...]
    seconds: dict[str, float]
    diagnosis: Diagnosis | None = None
    self_test: SelfTest | None = None
    structure: StructureCheck | None = None

    @property
    def report(self) -> VerificationReport:
        """The report of the first runtime, the only one unless several were asked for."""
        return self.reports[0]

    @property
    def passed(self) -> bool:
        """True if the numbers agree in every runtime, the file is what its recipe says, its graph too where it was
        compared, and the self-test noticed every fault."""
        if self.structure is not None and self.structure.failed:
            return False
        if self.self_test is not None and not self.self_test.passed:
            return False
        return all(report.passed for report in self.reports) and not self.disagreements

    @property
    def exit_code(self) -> int:
        """0 if the verification passed, else 1."""
        return EXIT_OK if self.passed else EXIT_VERIFICATION

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "path": str(self.path),
            "passed": self.passed,
            "recipe_sha256": None if self.recipe is None else self.recipe.digest,
            "model": self.model_name,
            "weights": self.weights.describe(),
            "disagreements": list(self.disagreements),
            "structure": None if self.structure is None else self.structure.to_dict(),
            "verification": self.report.to_dict(),
            "verifications": [report.to_dict() for report in self.reports],
            "diagnosis": None if self.diagnosis is None else self.diagnosis.to_dict(),
            "self_test": None if self.self_test is None else self.self_test.to_dict(),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }

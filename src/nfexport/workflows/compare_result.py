"""What a comparison of two models found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
from nfexport.verification.output_likeness import Likeness
from nfexport.verification.verification_report import VerificationReport

if TYPE_CHECKING:
    from nfexport.verification.diagnosis.diagnosis import Diagnosis


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideResult:
    """One side: its title, the runtime with its version, and its report against the reference.

    report is None for the side that is the reference itself, and where there is no reference."""

    label: str
    written: str
    title: str
    runtime: str
    precision: str
    report: VerificationReport | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareResult:
    """Two models on the same inputs.

    reference says what is computed in float64, and is None where nothing can be: without says why. inputs says where
    the inputs come from, batches how many there are. likeness compares the outputs of B with those of A directly.
    verdict is a sentence without a full stop; seconds maps each stage to its duration."""

    sides: tuple[SideResult, SideResult]
    reference: str | None
    without: str
    inputs: str
    batches: int
    likeness: tuple[Likeness, ...]
    direct: VerificationReport | None
    seconds: dict[str, float]
    diagnosis: Diagnosis | None = None
    notes: tuple[str, ...] = ()

    @property
    def reports(self) -> tuple[VerificationReport, ...]:
        """The reports that decide."""
        found = [side.report for side in self.sides if side.report is not None]
        return tuple(found) if self.direct is None else (*found, self.direct)

    @property
    def equal(self) -> bool:
        """True if every output has the same bits on both sides."""
        return bool(self.likeness) and all(one.equal for one in self.likeness)

    @property
    def passed(self) -> bool:
        """True if every side that was judged agrees with the reference, or there is none and the outputs are
        equal."""
        if not self.reports:
            return self.equal
        return all(report.passed for report in self.reports)

    @property
    def exit_code(self) -> int:
        """0 if the comparison passed, else 1."""
        return EXIT_OK if self.passed else EXIT_VERIFICATION

    @property
    def verdict(self) -> str:
        """The result in a sentence, without a full stop at its end."""
        failed: Sequence[VerificationReport] = [report for report in self.reports if not report.passed]
        if failed:
            return failed[0].summary()
        if self.reports:
            return self.reports[-1].summary()
        if self.equal:
            return f"the outputs are equal, bit for bit, on {self.batches} batches"
        return f"the outputs differ, and nothing says by how much they may ({self.without}); pass --rtol and --atol"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "reference": self.reference,
            "without_reference": self.without or None,
            "inputs": self.inputs,
            "batches": self.batches,
            "sides": {
                side.label: {
                    "written": side.written,
                    "title": side.title,
                    "runtime": side.runtime,
                    "precision": side.precision,
                    "verification": None if side.report is None else side.report.to_dict(),
                }
                for side in self.sides
            },
            "likeness": [one.to_dict() for one in self.likeness],
            "direct": None if self.direct is None else self.direct.to_dict(),
            "diagnosis": None if self.diagnosis is None else self.diagnosis.to_dict(),
            "notes": list(self.notes),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }

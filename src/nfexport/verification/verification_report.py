"""The result of a verification: in one sentence, and as JSON."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from nfexport.verification.comparison import Comparison

if TYPE_CHECKING:
    from nfexport.verification.weight_check import WeightCheck

FAR = 1e-3
"""Of the output's range: where float32 itself errs by more, an error of a percent may go unnoticed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseResult:
    """One output of one batch: name says what the images are, batch how many."""

    name: str
    batch: int
    output: str
    comparison: Comparison


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """A file against its PyTorch model, or against what `against` names.

    tolerance is the rule in words; seed is that of the inputs; providers are what the runtime computed on, if it
    tells; weights accounts for the stored numbers, None where the model cannot. The
    same file, model, versions and machine give the same report.
    """

    runtime: str
    runtime_version: str
    seed: int
    tolerance: str
    cases: tuple[CaseResult, ...]
    against: str = "PyTorch"
    weights: WeightCheck | None = None
    providers: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True if there are cases, each of them passed, and so did the weights where they were compared."""
        return self.cases_passed and (self.weights is None or self.weights.passed)

    @property
    def cases_passed(self) -> bool:
        """True if there are cases and each of them passed."""
        return bool(self.cases) and all(case.comparison.passed for case in self.cases)

    @property
    def worst(self) -> CaseResult:
        """The case that is furthest from what is allowed, the first of them if several are."""
        return max(self.cases, key=lambda case: case.comparison.severity)

    def summary(self) -> str:
        """Return the result as one sentence, without a full stop at its end."""
        worst = self.worst.comparison
        accelerator = next((name.removesuffix("ExecutionProvider") for name in self.providers), "CPU")
        where = f"{self.runtime} {self.runtime_version}" + (f" on {accelerator}" if accelerator != "CPU" else "")
        if self.passed:
            return (
                f"{where} agrees with {self.against} on {self._batches()} batches: largest error "
                f"{self._largest('max_relative') or 0:.1e} of the output range "
                f"({self._own()} {self._largest('yardstick_relative') or 0:.1e}; "
                f"{worst.severity:.0%} of what is allowed)"
            )
        if self.cases_passed and self.weights is not None:
            return f"{where} agrees with {self.against} on {self._batches()} batches, but {self.weights.summary()}"
        failed = len({(case.name, case.batch) for case in self.cases if not case.comparison.passed})
        size = "" if worst.max_relative is None else f", an error of {worst.max_relative:.1e} of the output range"
        return (
            f"{where} differs from {self.against} on {failed} of {self._batches()} batches, most on "
            f"'{self.worst.name}' (batch {self.worst.batch}): {worst.reason}{size}"
        )

    def caution(self) -> str | None:
        """Return why a pass proves little, as where float32 itself is far off; None where it proves much."""
        if self.tolerance.startswith("int8"):
            return (
                "this only shows that int8 costs what it did when the file was quantised; the digest in its recipe "
                "shows whether the graph is the same"
            )
        own = self._largest("yardstick_relative") or 0.0
        if own <= FAR or "float16" in self.tolerance:
            return None if self.weights is None else self.weights.caution()
        return (
            f"{self.against} itself is off by {own:.1e} of the output range in float32, so errors up to "
            f"{self._largest('limit_relative') or 0:.1e} pass: the network amplifies rounding errors"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        worst = self.worst
        return {
            "passed": self.passed,
            "summary": self.summary(),
            "caution": self.caution(),
            "runtime": self.runtime,
            "runtime_version": self.runtime_version,
            "providers": list(self.providers),
            "seed": self.seed,
            "tolerance": self.tolerance,
            "max_relative_error": self._largest("max_relative"),
            "min_cosine": self._least("cosine"),
            "top1_agreement": self._least("top1"),
            "top5_agreement": self._least("top5"),
            "worst": {"name": worst.name, "batch": worst.batch, "output": worst.output},
            "cases": [dataclasses.asdict(case) for case in self.cases],
            "weights": None if self.weights is None else self.weights.to_dict(),
        }

    def _own(self) -> str:
        if "float16" in self.tolerance:
            return "what rounding to float16 costs:"
        return "PyTorch's own in float32" if self.against == "PyTorch" else "its own in float32"

    def _batches(self) -> int:
        return len({(case.name, case.batch) for case in self.cases})

    def _figures(self, field: str) -> list[float]:
        values = (getattr(case.comparison, field) for case in self.cases)
        return [value for value in values if value is not None]

    def _largest(self, field: str) -> float | None:
        return max(self._figures(field), default=None)

    def _least(self, field: str) -> float | None:
        return min(self._figures(field), default=None)

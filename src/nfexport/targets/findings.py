"""What was found for each target, as values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

Effect = Literal["refused", "wrong", "caution"]
"""The target refuses the file; it loads the file and computes something else; or that depends on more than the
file, such as the target's release. A caution does not fail the check."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a target does not support. node and operator are None for the file as a whole.

    problem and fix are for a person, without a full stop; fix names a command or a flag where one helps."""

    target: str
    node: str | None
    operator: str | None
    problem: str
    fix: str
    effect: Effect = "refused"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetCheck:
    """One target: its table, what was found in the order of the file, and whether it loaded the file here.

    tried is None if the target was not tried, else the runtime and its version; not_tried says why not."""

    target: str
    title: str
    version: str
    source: str
    findings: tuple[Finding, ...]
    tried: str | None = None
    not_tried: str | None = None

    @property
    def passed(self) -> bool:
        """True if the target loads the file and computes what it says, as far as is known."""
        return all(finding.effect == "caution" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return facts | {"passed": self.passed, "findings": [finding.to_dict() for finding in self.findings]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckResult:
    """A file, and each target that it was checked for, in the order asked."""

    path: Path
    targets: tuple[TargetCheck, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of every target."""
        return tuple(finding for target in self.targets for finding in target.findings)

    @property
    def passed(self) -> bool:
        """True if every target passed."""
        return all(target.passed for target in self.targets)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "path": str(self.path),
            "passed": self.passed,
            "targets": [target.to_dict() for target in self.targets],
        }

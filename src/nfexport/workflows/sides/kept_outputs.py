"""The outputs of both sides, batch by batch, under the names that A has for them, and what they show by
themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.comparison import Comparison, compare, compare_exact
from nfexport.verification.output_likeness import Likeness, likeness
from nfexport.verification.tolerance import Tolerance
from nfexport.verification.verification_report import CaseResult, VerificationReport

Arrays = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptOutputs:
    """cases names the batches; first and second hold what A and B return on each, and pairs the names of an output on
    both sides. A side that stopped on a batch has nothing there."""

    cases: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    first: Sequence[Arrays]
    second: Sequence[Arrays]

    def likeness(self) -> tuple[Likeness, ...]:
        """Return how alike B's outputs are to A's, output by output."""
        return tuple(self._alike(mine, theirs) for mine, theirs in self.pairs)

    def _alike(self, mine: str, theirs: str) -> Likeness:
        runs = zip(_unique(self.cases), self.first, self.second, strict=True)
        found = {case: (a[mine], b[theirs]) for case, a, b in runs if mine in a and theirs in b}
        if len(found) < len(self.cases):
            return Likeness(output=mine, equal=False, reason="a side stopped")
        return likeness(mine, found)

    def judged(self, tolerance: Tolerance, seed: int) -> VerificationReport:
        """Compare B with A itself, under a fixed tolerance."""
        results = []
        for case, a, b in zip(self.cases, self.first, self.second, strict=True):
            for mine, theirs in self.pairs:
                batch = len(a[mine]) if mine in a and a[mine].ndim else 1
                judged = _judged(a.get(mine), b.get(theirs), tolerance)
                results.append(CaseResult(name=case, batch=batch, output=mine, comparison=judged))
        return VerificationReport(
            runtime="B",
            runtime_version="",
            seed=seed,
            tolerance=tolerance.describe(),
            cases=tuple(results),
            against="A",
        )


def _judged(a: NDArray[Any] | None, b: NDArray[Any] | None, tolerance: Tolerance) -> Comparison:
    if a is None or b is None:
        return Comparison(passed=False, reason="a side stopped")
    if a.dtype.kind in "biu":
        return compare_exact(b, a, ())
    return compare(b, a.astype(np.float64), [a], tolerance)


def _unique(names: Sequence[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"

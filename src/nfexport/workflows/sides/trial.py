"""One side in a comparison: it runs every batch, what it returns is kept, and judged where there is a reference."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nfexport.recipe.recipe import Output
from nfexport.verification.input_cases import InputCase
from nfexport.verification.tolerance import Tolerance
from nfexport.verification.verification_report import CaseResult, VerificationReport
from nfexport.verification.verifier import compare_with
from nfexport.workflows.sides.graph_reference import ReferenceSide
from nfexport.workflows.sides.input_choice import Batches
from nfexport.workflows.sides.input_forms import PairedUnderTest, arrays_for
from nfexport.workflows.sides.paired_outputs import pair_outputs
from nfexport.workflows.sides.side import RecordedSide, Side

if TYPE_CHECKING:
    from nfexport.runtimes import Session
    from nfexport.verification.referee import Referee
    from nfexport.verification.torch_reference import Reference

Array = NDArray[Any]


class KeptSession:
    """A session that keeps what each batch returns the first time: entries in the opposite order are run too."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.runtime, self.version, self.providers = session.runtime, session.version, session.providers
        self.inputs, self.outputs = session.inputs, session.outputs
        self.first_runs: list[dict[str, Array]] = []
        self._is_first = True

    def begin(self) -> None:
        """Note that the next run is the first of a batch."""
        self._is_first = True

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See Session."""
        first, self._is_first = self._is_first, False
        if first:
            self.first_runs.append({})
        result = self._session.run(feeds)
        if first:
            self.first_runs[-1] = result
        return result


@dataclasses.dataclass(kw_only=True)
class Trial:
    """A side that runs. rule is how it is judged; reference is None if it is not, or is the reference itself."""

    side: Side
    session: KeptSession
    batches: Batches
    rule: Tolerance
    reference: ReferenceSide | None
    cases: list[CaseResult] = dataclasses.field(default_factory=list)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the side returns; scores of a TopK are judged as such against a module alone."""
        if self.reference is not None and self.reference.is_module and not isinstance(self.side, RecordedSide):
            return self.side.claim.outputs
        return tuple(Output(kind="tensor", name=name, index=i) for i, name in enumerate(self.session.outputs))

    @functools.cached_property
    def under_test(self) -> PairedUnderTest:
        """The side as the verifier takes it, with the outputs that the reference has too."""
        assert self.reference is not None
        outputs, known = self.outputs, [output.name for output in self.reference.outputs]
        shared = dict(pair_outputs([output.name for output in outputs], known))
        return PairedUnderTest(
            own=self.side.claim,
            reference=self.reference.claim,
            outputs=tuple(output for output in outputs if output.name in shared),
            precision=self.side.claim.precision,
        )

    def with_batches(self) -> PairedUnderTest:
        """Return it with all batches in the side's own form, for a look inside."""
        return dataclasses.replace(self.under_test, given=tuple(map(self._in_own_form, self.batches.cases)))

    def run(self, case: InputCase, referee: Referee | None) -> None:
        """Run a batch, and let the referee judge what comes out, if the side is to be judged."""
        own = self._in_own_form(case)
        self.session.begin()
        if self.reference is None or referee is None:
            # a runtime that stops leaves no outputs, which the comparison tells
            with contextlib.suppress(RuntimeError):
                self.session.run(self.side.claim.feeds(own.arrays))
            return
        under_test = self.under_test
        names = [output.name for output in under_test.outputs]
        self.cases += referee.judge(
            self.rule,
            lambda reference: compare_with(named_as(reference, names), self.session, own, under_test, self.rule),
        )

    def _in_own_form(self, case: InputCase) -> InputCase:
        if isinstance(self.side, RecordedSide):
            # its batches are what they are, and do not run the other way round
            return InputCase(name=case.name, batch=1, arrays=())
        arrays: Sequence[Array] = case.arrays
        if self.side.claim is not self.batches.claim:
            arrays = arrays_for(case.arrays, self.batches.claim, self.side.claim)
        return InputCase(name=case.name, batch=case.batch, arrays=tuple(arrays))

    def report(self, seed: int) -> VerificationReport | None:
        """Return how close the side is to the reference; None if it was not judged."""
        if self.reference is None:
            return None
        return VerificationReport(
            runtime=self.session.runtime,
            runtime_version=self.session.version,
            providers=self.session.providers,
            seed=seed,
            tolerance=self.rule.describe(),
            cases=tuple(self.cases),
            against=self.reference.title,
        )


def named_as(reference: Reference, names: Sequence[str]) -> Reference:
    """Return what the reference computes by the names of a side's outputs."""
    from nfexport.verification.torch_reference import Reference

    pairs = pair_outputs(names, list(reference.expected))
    return Reference(
        expected={own: reference.expected[theirs] for own, theirs in pairs},
        float32={own: reference.float32[theirs] for own, theirs in pairs},
    )

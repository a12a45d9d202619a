"""Compare any two models: files, modules and recordings, each where it runs, on the same inputs.

A, B ─sides▶ what they take and return ─inputs▶ both run ─reference in float64▶ reports ─▶ verdict
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.errors import InputError
from nfexport.progress import Progress, Stages
from nfexport.verification.tolerance import NoiseTolerance, Tolerance, default_tolerance
from nfexport.workflows.compare_result import CompareResult, SideResult
from nfexport.workflows.sides.graph_reference import ReferenceSide, choose_reference
from nfexport.workflows.sides.input_choice import choose_batches
from nfexport.workflows.sides.input_forms import check_inputs
from nfexport.workflows.sides.kept_outputs import KeptOutputs
from nfexport.workflows.sides.opened_sides import open_sides
from nfexport.workflows.sides.paired_outputs import pair_outputs
from nfexport.workflows.sides.side import FileSide, ModuleSide, RecordedSide, Side
from nfexport.workflows.sides.side_name import parse_side
from nfexport.workflows.sides.trial import KeptSession, Trial

if TYPE_CHECKING:
    from nfexport.verification.diagnosis.diagnosis import Diagnosis
    from nfexport.verification.referee import Referee

LABELS = ("A", "B")

INT8_DECIBELS = 10.0
"""What an int8 side has to reach if nothing else is asked for: below it the noise is a third of the signal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judging:
    """How the sides are judged: tolerance replaces the measured rule, min_sqnr (decibels) is what B, or a side of
    int8, has to reach."""

    tolerance: Tolerance | None = None
    min_sqnr: float | None = None

    def rule(self, side: Side, *, is_last: bool) -> Tolerance:
        """Return the rule for a side."""
        if self.tolerance is not None:
            return self.tolerance
        if self.min_sqnr is not None and (is_last or side.claim.precision == "int8"):
            return NoiseTolerance(decibels=self.min_sqnr)
        if side.claim.precision == "int8":
            return NoiseTolerance(decibels=INT8_DECIBELS)
        return default_tolerance(side.claim.precision)


def compare(
    a: str | Path,
    b: str | Path,
    *,
    inputs: Sequence[str | Path] = (),
    seed: int = 0,
    tolerance: Tolerance | None = None,
    min_sqnr: float | None = None,
    bisect: bool = False,
    input_specs: Sequence[str] = (),
    progress: Progress | None = None,
) -> CompareResult:
    """Run two models on the same inputs, and say whether they are the same function.

    a and b are ONNX files, other formats of an export, timm names, checkpoints, repositories, factories
    ('FILE.py:factory'), recipes (.toml, .json), or recorded outputs (.npz, a golden, a folder of test sets); each may
    say where it runs, 'model.onnx@openvino' (nfexport.workflows.sides.side_name). inputs are .npz and .npy files,
    folders of test sets, and images; without them inputs are drawn from the seed.

    The reference is a module in float64, or else the graph of a file in float64, and each side has to be as close to
    it as its precision allows (docs/verification.md). tolerance replaces that rule; min_sqnr, in decibels, is what B
    and int8 files have to reach. Where nothing can be computed in float64 the outputs have to be equal, or within
    tolerance. bisect looks for the first node at fault. input_specs describe what a user's own module takes.
    Raises InputError, or another NfexportError, for sides that cannot be opened or compared."""
    stages = Stages(progress)
    judging = Judging(tolerance=tolerance, min_sqnr=min_sqnr)
    with stages.stage("read"):
        sides = open_sides([parse_side(str(text)) for text in (a, b)], inputs=input_specs)
        recorded = [side for side in sides if isinstance(side, RecordedSide)]
        if len(recorded) == len(sides):
            return _compare_recordings(recorded[0], recorded[1], tolerance, stages)
        running = [side for side in sides if not isinstance(side, RecordedSide)]
        check_inputs(running[0].claim, running[-1].claim)
        batches = choose_batches(sides, inputs, seed)
        reference, without = choose_reference(sides)
    with stages.stage("compare"):
        trials = [
            Trial(
                side=side,
                session=KeptSession(side.open()),
                batches=batches,
                rule=judging.rule(side, is_last=side is sides[-1]),
                # a module that is the reference is not judged by itself
                reference=None if reference is not None and reference.is_self(side) else reference,
            )
            for side in sides
        ]
        _run(trials, reference, stages)
        result = _result(trials, reference, without, judging, seed, stages)
    if bisect:
        with stages.stage("bisect"):
            result = dataclasses.replace(result, diagnosis=_diagnose(trials, reference, result, stages))
    return result


def _run(trials: Sequence[Trial], reference: ReferenceSide | None, stages: Stages) -> None:
    """Run every batch on both sides and, once for each precision, in the reference."""
    batches = trials[0].batches
    with contextlib.ExitStack() as stack:
        for trial in trials:
            stack.enter_context(trial.side.running())
        for number, case in enumerate(batches.cases, start=1):
            stages.progress.step(f"batch {number} of {len(batches.cases)}: {case.name}")
            referees: dict[float, Referee] = {}
            for trial in trials:
                if reference is not None and trial.rule.unit not in referees:
                    referees[trial.rule.unit] = reference.referee(case, batches.claim, trial.rule.unit)
                trial.run(case, referees.get(trial.rule.unit))


def _result(
    trials: Sequence[Trial],
    reference: ReferenceSide | None,
    without: str,
    judging: Judging,
    seed: int,
    stages: Stages,
) -> CompareResult:
    first, second = trials
    batches = first.batches
    kept = KeptOutputs(
        cases=tuple(case.name for case in batches.cases),
        pairs=pair_outputs(*[[output.name for output in trial.outputs] for trial in trials]),
        first=first.session.first_runs,
        second=second.session.first_runs,
    )
    fixed = judging.tolerance if reference is None else None
    return CompareResult(
        sides=_described([trial.side for trial in trials], trials, seed),
        reference=None if reference is None else f"{reference.title}, in float64",
        without=without,
        inputs=batches.origin,
        batches=len(batches.cases),
        likeness=kept.likeness(),
        direct=None if fixed is None else kept.judged(fixed, seed),
        seconds=stages.seconds,
        notes=_notes(trials),
    )


def _described(
    sides: Sequence[Side], trials: Sequence[Trial] | None = None, seed: int = 0
) -> tuple[SideResult, SideResult]:
    first, second = (
        SideResult(
            label=label,
            written=side.name.written,
            title=side.title,
            runtime="" if trials is None else _runtime(trials[index]),
            precision=side.claim.precision,
            report=None if trials is None else trials[index].report(seed),
        )
        for index, (label, side) in enumerate(zip(LABELS, sides, strict=True))
    )
    return first, second


def _runtime(trial: Trial) -> str:
    return f"{trial.session.runtime} {trial.session.version}".strip()


def _notes(trials: Sequence[Trial]) -> tuple[str, ...]:
    notes = []
    for label, trial in zip(LABELS, trials, strict=True):
        if isinstance(trial.side, ModuleSide):
            loaded = trial.side.loaded
            notes += [f"{label}: {note}" for note in loaded.notes]
            if loaded.weights.kind == "seeded":
                notes.append(f"{label}: {loaded.model_name} has seeded weights (seed {loaded.weights.seed})")
    return tuple(notes)


def _diagnose(
    trials: Sequence[Trial], reference: ReferenceSide | None, result: CompareResult, stages: Stages
) -> Diagnosis:
    """Compare a file with the reference tensor by tensor: the first that differs, or else B."""
    from nfexport.verification.diagnosis.diagnosis import diagnose

    found = [
        (trial, trial.side, side.report)
        for trial, side in zip(trials, result.sides, strict=True)
        if isinstance(trial.side, FileSide) and trial.side.is_onnx and side.report is not None
    ]
    if reference is None or not found:
        raise InputError(
            "there is no ONNX file to look into next to a model that is computed in float64",
            fix="leave --bisect out",
        )
    trial, side, report = next((one for one in found if not one[2].passed), found[-1])
    with reference.side.running():
        return diagnose(reference.module, side.path, trial.with_batches(), report, progress=stages.progress.step)


def _compare_recordings(
    first: RecordedSide, second: RecordedSide, tolerance: Tolerance | None, stages: Stages
) -> CompareResult:
    """Compare two recordings: there is nothing to run."""
    if len(first.outputs) != len(second.outputs):
        raise InputError(
            f"A holds {len(first.outputs)} batches and B holds {len(second.outputs)}",
            fix="compare recordings of the same inputs",
        )
    kept = KeptOutputs(
        cases=tuple(f"data set {number}" for number in range(1, len(first.outputs) + 1)),
        pairs=pair_outputs(tuple(first.outputs[0]), tuple(second.outputs[0])),
        first=first.outputs,
        second=second.outputs,
    )
    return CompareResult(
        sides=_described((first, second)),
        reference=None,
        without="both sides are recordings",
        inputs="the recordings",
        batches=len(kept.cases),
        likeness=kept.likeness(),
        direct=None if tolerance is None else kept.judged(tolerance, 0),
        seconds=stages.seconds,
    )

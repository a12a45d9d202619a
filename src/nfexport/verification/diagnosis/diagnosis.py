"""Where and why a file differs: its worst batch, compared tensor by tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfexport.graph.counts import convolution_weights
from nfexport.runtimes import Model, open_session
from nfexport.runtimes.session.declared import load
from nfexport.verification.diagnosis.bisection import Bisection, bisect, steps_of
from nfexport.verification.diagnosis.experiments import conclusions
from nfexport.verification.input_cases import InputCase
from nfexport.verification.larger_batch import LARGER, chosen, joined
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.verification.tolerance import default_tolerance, measure, per_image
from nfexport.verification.verification_report import VerificationReport
from nfexport.verification.verifier import REVERSED, Computed, reference_for

if TYPE_CHECKING:
    import torch

BISECTED_IN = "onnxruntime"
"""The runtime whose tensors are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The result of comparing a file with its model tensor by tensor.

    findings are sentences, the most certain first. images is the worst batch as the network receives it, [batch,
    channels, height, width] or the first of several inputs, and excess, [batch], the largest error of each entry in
    units of what is allowed. errors holds the error of every element of the first output, in units of its
    yardstick."""

    bisection: Bisection
    findings: tuple[str, ...]
    images: NDArray[Any]
    excess: NDArray[np.float64]
    errors: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {**self.bisection.to_dict(), "findings": list(self.findings)}


def diagnose(
    module: torch.nn.Module,
    model: Model,
    under_test: ModelUnderTest,
    report: VerificationReport,
    *,
    computed: Sequence[Computed] = (),
    progress: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Compare a file with its model tensor by tensor on the worst batch of a report, in ONNX Runtime.

    module and under_test: see verify_in_runtimes. computed: all batches of the report with what PyTorch computes on
    them by the default rule, if it ran before. Raises OnnxFileError if ONNX Runtime refuses the file."""
    say = progress or (lambda _: None)
    case = _worst_case([case for case, _ in computed] or under_test.cases(report.seed), report)
    proto = load(model)
    say(f"running PyTorch on '{case.name}', every step")
    computes_weights = convolution_weights(proto.graph)["computed"] > 0
    steps = steps_of(module, case.arrays, under_test, on_weights=computes_weights)
    say(f"comparing every tensor on '{case.name}'")
    foreign = frozenset() if report.weights is None else frozenset(report.weights.differing)
    bisection = bisect(proto, case.arrays, under_test, steps, case=case.name, foreign=foreign)
    rule = default_tolerance(under_test.precision)
    known = (reference for other, reference in computed if other is case)
    reference = next(known, None) or reference_for(module, case, under_test, rule)
    output = next(output for output in under_test.outputs if output.kind != "topk-indices").name
    expected = reference.expected[output]
    findings = list(bisection.hints)
    if report.weights is not None and not report.weights.passed:
        findings.insert(0, report.weights.summary())
    if not report.cases_passed and (report.runtime == BISECTED_IN or bisection.culprit is not None):
        say("trying changed inputs")
        findings += conclusions(proto, case, reference, under_test, rule)
    elif not report.cases_passed:
        findings.append(f"in ONNX Runtime every tensor of the file is right, so {report.runtime} is at fault")
    actual = open_session(model).run(under_test.feeds(case.arrays))[output]
    if actual.shape != expected.shape:
        actual = np.full(expected.shape, np.nan)
    yardstick = measure(reference.float32[output], expected)
    judged = rule.judge(np.nan_to_num(actual), expected, yardstick)
    error = np.abs(per_image(actual) - per_image(expected))
    unit = np.maximum(yardstick.max_abs, rule.unit * np.abs(per_image(expected)).max(axis=1))
    return Diagnosis(
        bisection=bisection,
        findings=tuple(findings),
        images=under_test.to_network(case.arrays)[0].float32[0],
        excess=judged.excess,
        errors=(error / unit[:, None]).reshape(-1),
    )


def _worst_case(cases: list[InputCase], report: VerificationReport) -> InputCase:
    """Return the case with the largest error; the smallest batch if all passed."""
    if report.cases_passed:
        return min(cases, key=lambda case: case.batch)
    worst = report.worst
    if worst.name == LARGER:
        return joined(chosen(cases))
    name = worst.name.removesuffix(REVERSED)
    return next((case for case in cases if (case.name, case.batch) == (name, worst.batch)), cases[0])

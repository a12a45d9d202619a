"""A report as one sentence and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nfexport.verification.comparison import Comparison
from nfexport.verification.verification_report import CaseResult, VerificationReport


def case(name: str, **figures: Any) -> CaseResult:
    defaults: dict[str, Any] = {
        "passed": True,
        "reason": "",
        "max_relative": 1e-7,
        "yardstick_relative": 2e-7,
        "excess": 0.1,
    }
    comparison = Comparison(**{**defaults, "cosine": 1.0, "top1": 1.0, "top5": 1.0, **figures})
    return CaseResult(name=name, batch=3, output="output", comparison=comparison)


def report(*cases: CaseResult) -> VerificationReport:
    return VerificationReport(runtime="onnxruntime", runtime_version="1.0", seed=0, tolerance="a rule", cases=cases)


GOOD = report(case("noise"), case("flat", max_relative=3e-7, yardstick_relative=4e-7, excess=0.25, cosine=0.5))
WRONG = case("flat", passed=False, reason="its error is 7 times what is allowed", max_relative=2e-3, excess=7.0)
STOPPED = CaseResult(
    name="noise", batch=1, output="output", comparison=Comparison(passed=False, reason="onnxruntime stopped: no")
)


def test_a_pass_says_how_close_it_is() -> None:
    assert GOOD.passed
    assert GOOD.summary() == (
        "onnxruntime 1.0 agrees with PyTorch on 2 batches: largest error 3.0e-07 of the output range "
        "(PyTorch's own in float32 4.0e-07; 25% of what is allowed)"
    )


def test_a_failure_names_the_worst_case() -> None:
    found = report(case("noise"), WRONG, case("blocks"))
    assert not found.passed
    assert found.worst is WRONG
    assert found.summary() == (
        "onnxruntime 1.0 differs from PyTorch on 1 of 3 batches, most on 'flat' (batch 3): "
        "its error is 7 times what is allowed, an error of 2.0e-03 of the output range"
    )


def test_what_could_not_be_compared_is_worse_than_any_number() -> None:
    found = report(WRONG, STOPPED)
    assert found.worst is STOPPED
    assert found.summary().endswith("most on 'noise' (batch 1): onnxruntime stopped: no")


def test_no_cases_prove_nothing() -> None:
    assert not report().passed


@pytest.mark.parametrize("found", [GOOD, report(WRONG, STOPPED), report(STOPPED)])
def test_a_report_is_strict_json(found: VerificationReport) -> None:
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again == found.to_dict()
    assert again["passed"] is found.passed
    assert len(again["cases"]) == len(found.cases)


def test_the_overall_figures_are_the_worst_ones() -> None:
    figures = GOOD.to_dict()
    assert figures["max_relative_error"] == 3e-7
    assert figures["min_cosine"] == 0.5
    assert figures["worst"] == {"name": "flat", "batch": 3, "output": "output"}


def test_a_yardstick_that_proves_little_is_told() -> None:
    assert GOOD.caution() is None
    loose = report(case("noise", yardstick_relative=2e-2, limit_relative=0.1))
    assert loose.passed
    assert loose.caution() == (
        "PyTorch itself is off by 2.0e-02 of the output range in float32, so errors up to 1.0e-01 pass: "
        "the network amplifies rounding errors"
    )
    assert loose.to_dict()["caution"] == loose.caution()

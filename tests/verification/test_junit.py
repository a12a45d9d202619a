"""JUnit XML: a test case for each output, failures with their reason, and nothing that no parser can read."""

from __future__ import annotations

from xml.etree import ElementTree

from nfexport.verification.comparison import Comparison
from nfexport.verification.junit import to_junit
from nfexport.verification.verification_report import CaseResult, VerificationReport

GOOD = Comparison(passed=True, reason="", excess=0.2)
BAD = Comparison(passed=False, reason="its error is 7 times what is allowed", excess=7.0)


def report(runtime: str, *comparisons: Comparison) -> VerificationReport:
    names = ("noise", "flat", "normal")
    cases = tuple(
        CaseResult(name=name, batch=1, output="logits", comparison=comparison)
        for name, comparison in zip(names, comparisons, strict=False)
    )
    return VerificationReport(
        runtime=runtime, runtime_version="1.2", seed=3, tolerance="5 times", cases=cases, providers=("CPU",)
    )


def test_each_output_of_each_batch_in_each_runtime_is_a_test_case() -> None:
    root = ElementTree.fromstring(to_junit([report("one", GOOD, BAD), report("two", GOOD)], file="m.onnx"))
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    assert [suite.get("name") for suite in root] == ["one 1.2", "two 1.2"]
    assert [(suite.get("tests"), suite.get("failures")) for suite in root] == [("2", "1"), ("1", "0")]
    told = {entry.get("name"): entry.get("value") for entry in root[0].iter("property")}
    assert told == {"seed": "3", "tolerance": "5 times", "providers": "CPU"}
    cases = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert cases == [
        ("m.onnx.one", "noise, batch 1: logits"),
        ("m.onnx.one", "flat, batch 1: logits"),
        ("m.onnx.two", "noise, batch 1: logits"),
    ]
    (failure,) = root.iter("failure")
    assert failure.get("message") == "its error is 7 times what is allowed"


def test_what_is_wrong_besides_the_numbers_fails_too() -> None:
    faults = [("recipe", "opset: the recipe says 11, the file has 17"), ("no Erf", "there are 3")]
    root = ElementTree.fromstring(to_junit([report("one", GOOD)], file="m.onnx", faults=faults))
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    assert [case.get("name") for case in root[-1]] == ["recipe", "no Erf"]


def test_a_failure_without_a_reason_is_still_a_failure() -> None:
    root = ElementTree.fromstring(to_junit([report("one", Comparison(passed=False, reason=""))], file="m"))
    assert root.get("failures") == "1"


def test_any_message_makes_a_document_that_can_be_read() -> None:
    raw = Comparison(passed=False, reason='stopped: <a & "b"> \x00\x1b[31m \ud800 é')
    text = to_junit([report("one", raw)], file="a & b.onnx")
    (failure,) = ElementTree.fromstring(text.encode("utf-8")).iter("failure")
    assert failure.get("message") == 'stopped: <a & "b"> \ufffd\ufffd[31m \ufffd é'


def test_the_same_verification_gives_the_same_bytes() -> None:
    assert to_junit([report("one", GOOD)], file="m") == to_junit([report("one", GOOD)], file="m")

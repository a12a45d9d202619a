"""A verification as JUnit XML, which continuous integration systems show case by case.

There is a suite for each runtime, and in it a test case for each output of each batch. No times are written: the
same verification gives the same file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from nfexport.verification.verification_report import VerificationReport

ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped; a runtime's message may."""


def to_junit(reports: Sequence[VerificationReport], *, file: str, faults: Sequence[tuple[str, str]] = ()) -> str:
    """Return the document, with its declaration and a line break at its end.

    file names what was verified; faults are (what, reason) of findings other than the outputs, each of them a failed
    test case of the suite 'file'."""
    root = ElementTree.Element("testsuites", name=_legal(f"nfexport verify {file}"))
    for report in reports:
        suite = ElementTree.SubElement(root, "testsuite", name=_legal(f"{report.runtime} {report.runtime_version}"))
        properties = ElementTree.SubElement(suite, "properties")
        values = {"seed": str(report.seed), "tolerance": report.tolerance, "providers": ", ".join(report.providers)}
        for name, value in values.items():
            ElementTree.SubElement(properties, "property", name=name, value=_legal(value))
        for case in report.cases:
            _add(
                suite,
                classname=f"{file}.{report.runtime}",
                name=f"{case.name}, batch {case.batch}: {case.output}",
                failure=case.comparison.reason or "not passed" if not case.comparison.passed else None,
            )
    if faults:
        suite = ElementTree.SubElement(root, "testsuite", name="file")
        for what, reason in faults:
            _add(suite, classname=file, name=what, failure=reason)
    for element in (*root, root):
        element.set("tests", str(len(list(element.iter("testcase")))))
        element.set("failures", str(len(list(element.iter("failure")))))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add(suite: ElementTree.Element, *, classname: str, name: str, failure: str | None) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=_legal(classname), name=_legal(name))
    if failure is not None:
        ElementTree.SubElement(case, "failure", message=_legal(failure))


def _legal(text: str) -> str:
    return ILLEGAL.sub("\ufffd", text)

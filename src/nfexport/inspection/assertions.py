"""Assertions on the facts of a file, for a CI without a script."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Sequence

import onnx.defs

from nfexport.errors import InputError, did_you_mean
from nfexport.inspection.facts import FileFacts

COUNT = re.compile(r"^(?P<op>[\w.:]+?)(?P<sign><=|>=|=)(?P<count>\d+)$")
SIZE = re.compile(r"^(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)$")
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SIGNS: dict[str, Callable[[int, int], bool]] = {"=": operator.eq, "<=": operator.le, ">=": operator.ge}
WORDS = {"=": "exactly", "<=": "at most", ">=": "at least"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssertionResult:
    """One assertion as it was given, whether it holds, and what the file has."""

    assertion: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assertions:
    """Assertions on a file: operators that must not occur, their numbers, and the largest size."""

    no_op: Sequence[str] = ()
    op_count: Sequence[str] = ()
    max_size: str | None = None

    def check_syntax(self) -> None:
        """Raise InputError for an assertion that cannot be parsed, or an operator that ONNX never had."""
        for name in self.no_op:
            _check_operator(name)
        for text in self.op_count:
            _parse_count(text)
        if self.max_size is not None:
            parse_size(self.max_size)

    def check(self, facts: FileFacts) -> tuple[AssertionResult, ...]:
        """Return the result of each assertion, in the order given."""
        counts = facts.operator_counts
        results = []
        for name in self.no_op:
            _check_operator(name)
            found = counts.get(name, 0)
            results.append(
                AssertionResult(
                    assertion=f"--assert-no-op {name}",
                    passed=not found,
                    detail=f"{found} {name} nodes" + (" where none is allowed" if found else ""),
                )
            )
        for text in self.op_count:
            name, sign, wanted = _parse_count(text)
            found = counts.get(name, 0)
            holds = SIGNS[sign](found, wanted)
            results.append(
                AssertionResult(
                    assertion=f"--assert-op-count {text}",
                    passed=holds,
                    detail=f"{found} {name} nodes" + ("" if holds else f", not {WORDS[sign]} {wanted}"),
                )
            )
        if self.max_size is not None:
            limit = parse_size(self.max_size)
            holds = facts.total_size <= limit
            results.append(
                AssertionResult(
                    assertion=f"--max-size {self.max_size}",
                    passed=holds,
                    detail=f"{facts.total_size:,} bytes" + ("" if holds else f", more than {limit:,}"),
                )
            )
        return tuple(results)


def parse_size(text: str) -> int:
    """Return a size in bytes: '290MB' (10⁶), '1.5GiB' (2³⁰), '4096'. Raises InputError for anything else."""
    found = SIZE.match(text.strip())
    if found is None or found["unit"].upper() not in UNITS:
        raise InputError(f"'{text}' is not a size", fix="pass bytes, or a number with kB, MB, GB, KiB, MiB or GiB")
    return int(float(found["number"]) * UNITS[found["unit"].upper()])


def _parse_count(text: str) -> tuple[str, str, int]:
    found = COUNT.match(text.strip())
    if found is None:
        raise InputError(f"'{text}' is not a count of operators", fix="pass OP=N, OP<=N or OP>=N, such as Conv=81")
    _check_operator(found["op"])
    return found["op"], found["sign"], int(found["count"])


def _check_operator(name: str) -> None:
    if "::" in name:
        return
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    if name not in known:
        hint = did_you_mean(name, sorted(known)) or "operators of other domains are written domain::Op"
        raise InputError(f"ONNX has no operator '{name}'", fix=hint)

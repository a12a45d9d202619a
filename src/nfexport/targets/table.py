"""The table of one target, read from tables/NAME.toml and checked to the last key."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from nfexport.errors import InputError, NfexportError
from nfexport.targets.findings import Effect
from nfexport.targets.toml_fields import Fields

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "tables"
FORMS = ("training", "zero-padded", "any")
TESTS = ("attribute", "constant", "input", "outputs", "form")
ANY = "*"
"""In [domains]: every operator of the domain."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The document that the table follows, the day it was read, and what else it rests on."""

    document: str
    url: str
    read: datetime.date
    also: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Of the file as a whole. None or () stands for no limit that the source states.

    known_opset is the newest that the source knows, where the target does not refuse a newer one; types are
    the element types taken, named as numpy does; dynamic is what a size that the file only names asks for."""

    min_opset: int | None
    max_opset: int | None
    known_opset: int | None
    max_ir_version: int | None
    types: tuple[str, ...]
    dynamic: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """A use of some operators that the target cannot take; exactly one of TESTS says which.

    attribute: its value, or each value of a list, has to be one of `allowed` or none of `refused`; a list has
    to have one of `lengths` entries; or, with `absent`, it may not be there.
    constant: inputs, by name and position, that have to be initializers or computed from constants.
    input: one input, by name and position, that has to be constant, and one of `values` or at most `maximum`.
    outputs: the most outputs that may be used.
    form: 'training', BatchNormalization with the statistics of its input; 'zero-padded', an input that a Pad
    alone gives, with zeros; 'any', every use.

    `only` limits the rule to nodes whose attributes have these values, defaults included. flag is the flag of
    nfexport that helps, flag_of_constants the one for a node that hangs on constants alone, advice what helps
    otherwise."""

    operators: tuple[str, ...]
    effect: Effect
    problem: str | None
    flag: str | None
    flag_of_constants: str | None
    advice: str | None
    only: Mapping[str, tuple[Any, ...]]
    attribute: str | None
    allowed: tuple[Any, ...]
    refused: tuple[Any, ...]
    lengths: tuple[int, ...]
    absent: bool
    constant: Mapping[str, int]
    input: Mapping[str, int]
    values: tuple[Any, ...]
    maximum: int | None
    outputs: int | None
    form: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A target: its operators of ai.onnx, since and until which opset, those of other domains, and its rules.

    runtime is the runtime of nfexport that can try a file for real, if there is one. flags names, for an
    operator that is not taken, the flag of nfexport that writes it otherwise."""

    name: str
    title: str
    version: str
    runtime: str | None
    source: Source
    limits: Limits
    operators: frozenset[str]
    since: Mapping[str, int]
    until: Mapping[str, int]
    domains: Mapping[str, frozenset[str]]
    flags: Mapping[str, str]
    rules: tuple[Rule, ...]


def targets() -> tuple[str, ...]:
    """Return the names of the targets that there is a table for, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str) -> Table:
    """Return a target's table.

    Raises InputError for a target that there is no table for, and NfexportError, which names file and key,
    for a table that is not as it should be."""
    if name not in targets():
        raise InputError(f"there is no target '{name}'", fix=f"use one of {', '.join(targets())}")
    return read_table(FOLDER / f"{name}.toml")


@functools.cache
def read_table(path: Path) -> Table:
    """Return the table in a file. Raises NfexportError as load does."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NfexportError(f"'{path}' is not TOML: {error}", fix="mend it, or install nfexport anew") from error
    fields = Fields(str(path), "", values)
    operators = fields.part("operators")
    table = Table(
        name=path.stem,
        title=fields.required("title", str),
        version=fields.required("version", str),
        runtime=fields.optional("runtime", str),
        source=_source(fields.part("source")),
        limits=_limits(fields.part("limits")),
        operators=frozenset(operators.names("taken")),
        since=operators.mapping("since", int),
        until=operators.mapping("until", int),
        domains={domain: frozenset(names) for domain, names in fields.lists("domains").items()},
        flags=fields.mapping("flags", str),
        rules=tuple(_rule(part) for part in fields.parts("rules")),
    )
    if not table.operators:
        raise operators.wrong("taken", "is missing")
    operators.finish()
    fields.finish()
    return table


def _source(fields: Fields) -> Source:
    source = Source(
        document=fields.required("document", str),
        url=fields.required("url", str),
        read=fields.required("read", datetime.date),
        also=fields.names("also"),
    )
    fields.finish()
    return source


def _limits(fields: Fields) -> Limits:
    limits = Limits(
        min_opset=fields.optional("min_opset", int),
        max_opset=fields.optional("max_opset", int),
        known_opset=fields.optional("known_opset", int),
        max_ir_version=fields.optional("max_ir_version", int),
        types=fields.names("types"),
        dynamic=fields.optional("dynamic", str),
    )
    fields.finish()
    return limits


def _rule(fields: Fields) -> Rule:
    given = [test for test in TESTS if test in fields]
    if len(given) != 1:
        raise fields.wrong("operators", f"has {len(given)} of the keys {', '.join(TESTS)} beside it, not one")
    rule = Rule(
        operators=fields.names("operators"),
        effect=fields.optional("effect", str) or "refused",  # type: ignore[arg-type]  # checked below
        problem=fields.optional("problem", str),
        flag=fields.optional("flag", str),
        flag_of_constants=fields.optional("flag_of_constants", str),
        advice=fields.optional("advice", str),
        only=fields.lists("only"),
        attribute=fields.optional("attribute", str),
        allowed=tuple(fields.optional("allowed", list) or ()),
        refused=tuple(fields.optional("refused", list) or ()),
        lengths=tuple(fields.optional("lengths", list) or ()),
        absent=fields.optional("absent", bool) or False,
        constant=fields.mapping("constant", int),
        input=fields.mapping("input", int),
        values=tuple(fields.optional("values", list) or ()),
        maximum=fields.optional("maximum", int),
        outputs=fields.optional("outputs", int),
        form=fields.optional("form", str),
    )
    if not rule.operators:
        raise fields.wrong("operators", "is missing")
    if rule.effect not in get_args(Effect):
        raise fields.wrong("effect", f"has to be one of {', '.join(get_args(Effect))}")
    if rule.form not in (None, *FORMS):
        raise fields.wrong("form", f"has to be one of {', '.join(FORMS)}")
    if rule.attribute is not None and not (rule.allowed or rule.refused or rule.lengths or rule.absent):
        raise fields.wrong("attribute", "has none of the keys allowed, refused, lengths and absent beside it")
    if "input" in given and (len(rule.input) != 1 or not (rule.values or rule.maximum is not None)):
        raise fields.wrong("input", "has to name one input, with values or maximum beside it")
    if rule.form is not None and rule.problem is None:
        raise fields.wrong("problem", "is missing, which a form needs")
    fields.finish()
    return rule

"""The table of one target, read from tables/NAME.toml and checked to the last key."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from nfexport.errors import InputError, NfexportError
from nfexport.recipe.toml_file import TomlFile
from nfexport.targets.findings import Effect

FOLDER = Path(__file__).parent / "tables"
TESTS = ("attribute", "constant", "input", "outputs", "form")
ANY: Final = "*"
"""In [domains]: every operator of the domain."""

Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
Opset = Annotated[int, msgspec.Meta(ge=1)]
Position = Annotated[int, msgspec.Meta(ge=0)]
"""Of an input of an operator, counted from 0."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document that the table follows, the day it was read, and what else it rests on."""

    document: Text
    url: Text
    read: datetime.date
    also: tuple[Text, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the file as a whole. None or () stands for no limit that the source states.

    known_opset is the newest that the source knows, where the target does not refuse a newer one; types are
    the element types that are supported, named as numpy does; dynamic is what a symbolic size asks for."""

    min_opset: Opset | None = None
    max_opset: Opset | None = None
    known_opset: Opset | None = None
    max_ir_version: Opset | None = None
    types: tuple[Text, ...] = ()
    dynamic: Text | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A use of some operators that the target does not support; exactly one of TESTS says which.

    attribute: its value, or each value of a list, has to be one of `allowed` or none of `refused`; a list has
    to have one of `lengths` entries; or, with `absent`, it may not be there.
    constant: inputs, by name and position, that have to be initializers or computed from constants.
    input: one input, by name and position, that has to be constant, and one of `values` or at most `maximum`.
    outputs: the most outputs that may be used.
    form: 'training', BatchNormalization with the statistics of its input; 'zero-padded', an input that a Pad
    alone gives, with zeros; 'any', every use.

    `only` limits the rule to nodes whose attributes have these values, defaults included. flag is the flag of
    nfexport that helps, flag_of_constants the one for a node that depends on constants alone, advice what helps
    otherwise."""

    operators: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    effect: Effect = "refused"
    problem: Text | None = None
    flag: Text | None = None
    flag_of_constants: Text | None = None
    advice: Text | None = None
    only: Mapping[str, tuple[Any, ...]] = {}
    attribute: Text | None = None
    allowed: tuple[Any, ...] = ()
    refused: tuple[Any, ...] = ()
    lengths: tuple[Position, ...] = ()
    absent: bool = False
    constant: Mapping[str, Position] = {}
    input: Mapping[str, Position] = {}
    values: tuple[Any, ...] = ()
    maximum: int | None = None
    outputs: Position | None = None
    form: Literal["training", "zero-padded", "any"] | None = None

    def __post_init__(self) -> None:
        given = [test for test in TESTS if getattr(self, test) not in (None, {})]
        if len(given) != 1:
            raise ValueError(f"it has {len(given)} of the keys {', '.join(TESTS)}, and needs exactly one")
        if self.attribute is not None and not (self.allowed or self.refused or self.lengths or self.absent):
            raise ValueError("'attribute' needs one of the keys allowed, refused, lengths and absent")
        if self.input and (len(self.input) != 1 or not (self.values or self.maximum is not None)):
            raise ValueError("'input' has to name one input, and needs the key values or maximum")
        if self.form is not None and self.problem is None:
            raise ValueError("'form' needs the key problem")


class Operators(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operators of ai.onnx that are supported, and since and until which opset where that is limited."""

    supported: Annotated[frozenset[Text], msgspec.Meta(min_length=1)]
    since: Mapping[str, Opset] = {}
    until: Mapping[str, Opset] = {}


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file of tables/ holds: a target's operators, those of other domains, and its rules.

    runtime is the runtime of nfexport that can load a file for real, if there is one. flags names, for an
    operator that is not supported, the flag of nfexport that writes it otherwise."""

    title: Text
    version: Text
    runtime: Text | None = None
    source: Source
    limits: Limits = Limits()
    operators: Operators
    domains: Mapping[str, frozenset[Text]] = {}
    flags: Mapping[str, Text] = {}
    rules: tuple[Rule, ...] = ()


class Table(Description, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The description of a target, with the target's name."""

    name: str


def targets() -> tuple[str, ...]:
    """Return the names of the targets that have a table, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str) -> Table:
    """Return a target's table.

    Raises InputError for an unknown target, and NfexportError, which names file, line and key, for a table with
    a mistake."""
    if name not in targets():
        raise InputError(f"there is no target '{name}'", fix=f"use one of {', '.join(targets())}")
    return read_table(FOLDER / f"{name}.toml")


@functools.cache
def read_table(path: Path) -> Table:
    """Return the table in a file. Raises NfexportError as load does."""
    found = TomlFile(path, refuse=NfexportError, keys="see docs/targets.md").value(Description)
    return Table(name=path.stem, **msgspec.structs.asdict(found))

"""Command-line options, made from what the recipe's fields and the graph passes declare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from nfexport.cli.parameter_types import (
    NamesType,
    NumbersType,
    PairType,
    PassReferenceType,
    SizeType,
    ValueType,
    WordType,
)
from nfexport.cli.sections import option, together
from nfexport.recipe.export_options import ExportOptions, Source, declared
from nfexport.recipe.option import Command, Option

Function = TypeVar("Function", bound=Callable[..., Any])


def options_of(command: Command, only: Collection[str] | None = None) -> Callable[[Function], Function]:
    """Return a decorator that adds every declared option of a command, or only some by their keywords; their values
    go to `keywords`."""
    return together(
        *(
            _click_option(item, default)
            for item, default in declarations(command)
            if only is None or item.keyword in only
        )
    )


def declarations(command: Command) -> Iterable[tuple[Option, Any]]:
    """Yield each declared option of a command, with its default: those of the recipe first, then those of passes."""
    from nfexport import formats
    from nfexport.passes.keywords import options

    for kind in (Source, ExportOptions) if command == "export" else (ExportOptions,):
        defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
        for name, item in declared(kind).items():
            if command in item.commands:
                yield item, defaults[name]
    for item in options(command).values():
        yield item, item.default
    if command == "export":
        for name in formats.names():
            for item in formats.get(name).options:
                yield item, item.default


def keywords(command: Command, values: dict[str, Any]) -> dict[str, Any]:
    """Take the values of declared options out of those of a command, and return them as keyword arguments.

    Raises InputError for a user's pass that cannot be imported."""
    found: dict[str, Any] = {}
    for item, _ in declarations(command):
        value = values.pop(item.keyword, None)
        if item.keyword == "extra_passes":
            value = dict(map(_loaded, value or ()))
        elif item.kind in ("pairs", "values"):
            value = dict(value or ())
        given = bool(value) if item.kind == "flag" else value not in (None, (), {})
        if given:
            found[item.keyword] = value
    return found


def _loaded(reference: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    from nfexport.passes import registry

    name, params = reference
    cls = registry.load_file(name) if ".py:" in name else registry.get(name)
    return cls.name, params


def _click_option(item: Option, default: Any) -> Callable[[Function], Function]:
    words: dict[str, Any] = {"help": _help(item, default), "section": item.section, "hidden": item.hidden}
    flag = item.flag
    if item.kind == "flag":
        words["is_flag"] = True
    elif item.kind == "switch":
        flag, words["default"] = f"{item.flag}/--no-{item.flag.removeprefix('--')}", None
    else:
        words |= {"type": _type_of(item), "default": None, "multiple": item.multiple or item.kind == "pairs"}
        if item.bare is not None:
            words |= {"is_flag": False, "flag_value": item.bare}
    if item.metavar is not None:
        words["metavar"] = item.metavar
    return option(flag, item.keyword, **words)


def _help(item: Option, default: Any) -> str:
    if item.default_text is not None:
        return f"{item.help}  [default: {item.default_text}]"
    if item.kind in ("flag", "switch") or default in (None, (), {}, msgspec.NODEFAULT):
        return item.help
    return f"{item.help}  [default: {default}]"


def _type_of(item: Option) -> Any:
    if item.keyword == "extra_passes":
        return PassReferenceType()
    if item.keyword == "to":
        return click.Choice(_formats())
    types: dict[str, Callable[[], Any]] = {
        "choice": lambda: WordType(item.choices),
        "integer": lambda: click.INT if item.minimum is None else click.IntRange(min=int(item.minimum)),
        "number": lambda: click.FLOAT,
        "numbers": NumbersType,
        "text": lambda: click.STRING,
        "names": NamesType,
        "pairs": PairType,
        "values": ValueType,
        "size": lambda: SizeType(item.choices, metavar=item.metavar),
        "path": lambda: click.Path(path_type=Path),
    }
    return types[item.kind]()


def _formats() -> tuple[str, ...]:
    from nfexport import formats

    return ("onnx", *formats.names())

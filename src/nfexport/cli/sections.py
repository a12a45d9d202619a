"""Options under headings: --help lists them by purpose."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nfexport.recipe.option import Section

Function = TypeVar("Function", bound=Callable[..., Any])

SECTIONS: tuple[str, ...] = typing.get_args(Section)
OTHER = "Other options"


class SectionOption(click.Option):
    """An option that knows the heading it stands under."""

    def __init__(self, *args: Any, section: str = OTHER, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose --help lists its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one heading after the other."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            # click from 8.5.1 has a record of each argument too
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                rows.setdefault(getattr(param, "section", OTHER), []).append(record)
        for section in (*SECTIONS, OTHER):
            if section in rows:
                with formatter.section(section):
                    formatter.write_dl(rows[section])


def option(*flags: str, section: Section | None = None, **keywords: Any) -> Callable[[Function], Function]:
    """Return a click option that stands under a heading."""
    return click.option(*flags, cls=SectionOption, section=section or OTHER, **keywords)


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Return a decorator that adds several options, the first one first."""

    def add(function: Function) -> Function:
        for decorate in reversed(options):
            function = decorate(function)
        return function

    return add

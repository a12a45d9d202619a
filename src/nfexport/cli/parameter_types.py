"""How values are written on the command line."""

from __future__ import annotations

import abc
import re
from typing import Any

import click


class _Text(click.ParamType, abc.ABC):  # type: ignore[type-arg]  # generic from click 8.5
    """A value that is written as text; anything else is passed on as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value; fails with one sentence for a text that is not one."""
        return self.parse(value, param, ctx) if isinstance(value, str) else value

    @abc.abstractmethod
    def parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the text stands for."""


class NumbersType(_Text):
    """Numbers, one per channel: '0.485,0.456,0.406'."""

    name = "A,B,C"

    def parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers."""
        try:
            return tuple(float(part) for part in text.split(","))
        except ValueError:
            self.fail(
                f"'{text}' is not a list of numbers; pass one per channel, such as 0.485,0.456,0.406", param, ctx
            )


class LevelsType(_Text):
    """Indices of feature maps: '2,3,4' or '-1'; 'all' is timm's own choice."""

    name = "[LEVELS]"

    def parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the indices."""
        if text == "all":
            return ()
        try:
            return tuple(int(part) for part in text.split(","))
        except ValueError:
            self.fail(f"'{text}' is not a list of feature levels; pass numbers, such as 2,3,4", param, ctx)


class NamesType(_Text):
    """Names of tensors: 'A,B'."""

    name = "A,B"

    def parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        names = tuple(part.strip() for part in text.split(","))
        if not all(names):
            self.fail(f"'{text}' is not a list of names; pass A,B", param, ctx)
        return names


class PairType(_Text):
    """OLD=NEW."""

    name = "OLD=NEW"

    def parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the two."""
        old, sign, new = text.partition("=")
        if not sign or not old or not new:
            self.fail(f"'{text}' is not of the form OLD=NEW", param, ctx)
        return old, new


class ValueType(_Text):
    """KEY=VALUE, with a Python literal for the value; anything else is text, as in timm's own scripts."""

    name = "KEY=VALUE"

    def parse(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Return the two."""
        import ast

        key, sign, written = text.partition("=")
        if not sign or not key.isidentifier():
            self.fail(f"'{text}' is not of the form KEY=VALUE", param, ctx)
        try:
            return key, ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return key, written


class SizeType(_Text):
    """A size: '224', '224x320' (height x width), or one of some words."""

    def __init__(self, words: tuple[str, ...] = (), *, metavar: str | None = None) -> None:
        self.words = words
        self.name = metavar or "|".join(("N", "HxW", *words))

    def parse(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, int] | str:
        """Return a number, (height, width), or the word."""
        if text in self.words:
            return text
        parts = text.lower().split("x")
        if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(parts) > 2:
            self.fail(f"'{text}' is not a size; pass {' or '.join(self.name.split('|'))}", param, ctx)
        sizes = tuple(int(part) for part in parts)
        return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


class WordType(click.Choice):  # type: ignore[type-arg]
    """One of some words; a file name here is most likely meant for -o."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word."""
        if isinstance(value, str) and value not in self.choices and value.endswith(".onnx"):
            self.fail(f"'{value}' is not one of {', '.join(self.choices)}; pass the file to write to -o", param, ctx)
        return super().convert(value, param, ctx)


class PassReferenceType(_Text):
    """A pass of the user's: 'FILE.py:CLASS', or the name of another package's, with parameters: ':KEY=VALUE,…'."""

    name = "FILE.py:CLASS[:KEY=VALUE,...]"

    def parse(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, Any]]:
        """Return the reference and the parameters; numbers, true, false and lists are read as JSON."""
        # a colon or a comma separates only where KEY= follows: values may hold both
        reference, *parameters = re.split(r":(?=[A-Za-z_]\w*=)", text, maxsplit=1)
        if not reference:
            self.fail(f"'{text}' does not name a pass; pass {self.name}", param, ctx)
        found: dict[str, Any] = {}
        for item in re.split(r",(?=[A-Za-z_]\w*=)", parameters[0]) if parameters else ():
            key, _, value = item.partition("=")
            found[key] = _json_or_text(value)
        return reference, found


def _json_or_text(text: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text

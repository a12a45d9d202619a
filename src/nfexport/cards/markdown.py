"""Put strings from files into Markdown and Python as data: each is escaped for the place where it stands.

A card is made from a file that anybody may have written. Everything that a template prints passes through `printed`,
which escapes it unless it is Markdown already: a template cannot forget it.
"""

from __future__ import annotations

import json
import re
from typing import Any

UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters but tab and line feed, those that change the direction of text, and lone surrogates."""

SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
"""What means something within a line; an underscore within a word does not."""

LINE_START = re.compile(r"^ ?(?:\d+(?=[.)](?: |$))|(?=[#+=-]))")
"""What makes a line a heading, an entry of a list or a rule."""

URL = re.compile(r"https?://[A-Za-z0-9._/?#@!&+,;=%:-]+")
LICENCE = re.compile(r"[A-Za-z0-9.+-]+")


class Markdown(str):
    """Text that is Markdown already: what it holds of a file has been escaped."""

    __slots__ = ()


def printed(value: Any) -> Any:
    """Return what a template prints for a value: a string is escaped unless it is Markdown."""
    return text(value) if isinstance(value, str) else value


def text(value: str) -> Markdown:
    """Return a string as one line of Markdown that shows it; also within a cell of a table."""
    if isinstance(value, Markdown):
        return value
    line = re.sub(r"\s+", " ", clean(value))
    line = re.sub(r"&(?=#|\w+;)", "&amp;", line).replace("<", "&lt;").replace(">", "&gt;")
    return Markdown(LINE_START.sub(r"\g<0>\\", SPECIAL.sub(r"\\\g<0>", line)))


def paragraphs(value: str) -> Markdown:
    """Return a string of several lines as Markdown that shows them; empty lines part paragraphs."""
    if isinstance(value, Markdown):
        return value
    return Markdown("\n".join(text(line.strip()) for line in value.splitlines()).strip("\n"))


def code(value: str) -> Markdown:
    """Return Markdown that shows a string as code, whatever backticks are in it."""
    line = " ".join(clean(value).split())
    fence = "`" * (_longest_run(line) + 1)
    return Markdown(f"{fence}{line}{fence}" if len(fence) == 1 and line else f"{fence} {line} {fence}")


def block(value: str, language: str) -> Markdown:
    """Return Markdown that shows a string of several lines as code, whatever backticks are in it."""
    fence = "`" * max(3, _longest_run(value) + 1)
    return Markdown(f"{fence}{language}\n{clean(value)}\n{fence}")


def address(value: str) -> Markdown:
    """Return an address as it is, which Markdown links, and anything else as text."""
    return Markdown(value) if URL.fullmatch(value) else text(value)


def link(label: str, url: str) -> Markdown:
    """Return a link; only its label if the address is not a plain one of the web."""
    return Markdown(f"[{text(label)}]({url})") if URL.fullmatch(url) else text(label)


def licence(name: str) -> Markdown:
    """Return the name of a licence, with a link to its text if the name may be an SPDX identifier."""
    return link(name, f"https://spdx.org/licenses/{name}.html") if LICENCE.fullmatch(name) else text(name)


def literal(value: str) -> str:
    """Return a string as a Python program writes it, in ASCII and on one line."""
    # JSON writes what lies outside the basic plane as two halves, which Python would keep apart
    return json.dumps(value) if value.isascii() else ascii(value)


def clean(value: str) -> str:
    """Return a string without what a terminal or a reader would not show as it is."""
    return UNPRINTABLE.sub("\ufffd", value)


def _longest_run(value: str) -> int:
    return max((len(run) for run in re.findall("`+", value)), default=0)

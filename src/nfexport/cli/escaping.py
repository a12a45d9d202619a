"""Show text from files on a terminal as text: nothing in it is markup, moves the cursor or sets a colour."""

from __future__ import annotations

import re

import click

_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
"""Control characters but tab and newline, and characters that change the direction of text."""


def plain(text: str) -> str:
    """Return a text with ? for each control character."""
    return re.sub(_CONTROL, "?", text)


def escape(text: str) -> str:
    """Return a text as rich prints it literally, with ? for each control character."""
    from rich import markup

    return markup.escape(plain(text))


def complain(text: str) -> None:
    """Print one line on stderr, in the name of the program."""
    click.echo(plain(f"nfexport: {text}"), err=True)

"""Show text from files on a terminal as text: nothing in it is markup, moves the cursor or sets a colour."""

from __future__ import annotations

import re

import click

from nfexport.recipe.control_characters import CONTROL_IN_PROSE


def plain(text: str) -> str:
    """Return a text with ? for each control character."""
    return re.sub(f"[{CONTROL_IN_PROSE}]", "?", text)


def escape(text: str) -> str:
    """Return a text as rich prints it literally, with ? for each control character."""
    from rich import markup

    return markup.escape(plain(text))


def complain(text: str) -> None:
    """Print one line on stderr, in the name of the program."""
    click.echo(plain(f"nfexport: {text}"), err=True)

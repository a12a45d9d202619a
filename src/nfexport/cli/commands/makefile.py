"""`nfexport makefile`."""

from __future__ import annotations

from pathlib import Path

import click

import nfexport


@click.command(name="makefile")
def command() -> int:
    """Print the path of nfexport.mk: make rules that export, verify and check models in other repositories.

    \b
    include $(shell nfexport makefile)
    """  # noqa: D301  (click reads the character)
    click.echo(Path(nfexport.__file__).resolve().with_name("nfexport.mk"))
    return 0

"""The styles of cards: one template each, 'templates/STYLE.md.j2'. Standard library only."""

from __future__ import annotations

import importlib.resources

from nfexport.errors import InputError

SUFFIX = ".md.j2"


def available_styles() -> tuple[str, ...]:
    """Return the names of the styles, sorted."""
    folder = importlib.resources.files("nfexport.cards").joinpath("templates")
    return tuple(sorted(entry.name.removesuffix(SUFFIX) for entry in folder.iterdir() if entry.name.endswith(SUFFIX)))


def check_style(style: str) -> None:
    """Raise InputError if there is no such style."""
    if style not in available_styles():
        raise InputError(
            f"there is no card style '{style}'", fix=f"pass --style with one of {', '.join(available_styles())}"
        )

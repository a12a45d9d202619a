"""Describe the passes as plain values and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nfexport.passes import registry
from nfexport.passes.base import Pass


def describe(cls: type[Pass]) -> dict[str, Any]:
    """Return the declarations of a pass as plain values for JSON."""
    origin = "nfexport" if registry.is_built_in(cls) else f"{cls.__module__}:{cls.__qualname__}"
    return {
        "name": cls.name,
        "does": cls.headline(),
        "formula": cls.formula,
        "stage": cls.stage.name.lower(),
        "options": [option.flag for option in cls.options],
        "implied_by": [bundle.value for bundle in cls.implied_by],
        "changes": list(cls.changes.names()),
        "parameters": {field.name: _type_of(field.type) for field in cls.fields()},
        "origin": origin,
    }


def _type_of(kind: object) -> str:
    """Return a type as it is written; a class by its name."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def markdown(classes: Sequence[type[Pass]]) -> str:
    """Return the table of docs/passes: one row per pass, in execution order."""
    lines = ["| pass | what it does | option | implied by | may change |", "|---|---|---|---|---|"]
    for entry in map(describe, classes):
        cells = (
            f"`{entry['name']}`",
            entry["does"],
            ", ".join(f"`{flag}`" for flag in entry["options"]),
            ", ".join(entry["implied_by"]),
            ", ".join(entry["changes"]),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"

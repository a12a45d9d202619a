"""A verification and its diagnosis as one self-contained HTML page. Needs Jinja2 and matplotlib."""

from __future__ import annotations

import base64
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

from nfexport.recipe.recipe import Recipe
from nfexport.verification.diagnosis.diagnosis import Diagnosis
from nfexport.verification.diagnosis.localisation import Located
from nfexport.verification.diagnosis.plot import png
from nfexport.verification.verification_report import VerificationReport

TEMPLATE = "page.html.j2"


def html(
    file: str, reports: Sequence[VerificationReport], diagnosis: Diagnosis, recipe: Recipe | None, *, passed: bool
) -> str:
    """Return the page. Raises ImportError without Jinja2 or matplotlib."""
    import jinja2

    source = importlib.resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        file=file,
        passed=passed,
        reports=reports,
        diagnosis=diagnosis,
        bisection=diagnosis.bisection,
        culprit=diagnosis.bisection.culprit,
        modules=by_module(diagnosis.bisection.tensors),
        image=base64.b64encode(png(diagnosis)).decode("ascii"),
        recipe=None if recipe is None else json.dumps(json.loads(recipe.to_json()), indent=2),
    )


def by_module(tensors: Sequence[Located]) -> list[dict[str, Any]]:
    """Return a row for each module, in the file's order: its last tensor, and its worst."""
    rows: dict[str, dict[str, Any]] = {}
    for entry in tensors:
        row = rows.setdefault(entry.module, {"module": entry.module or "(top)", "tensors": 0, "worst": entry})
        row["tensors"] += 1
        row["last"] = entry
        if _severity(entry) > _severity(row["worst"]):
            row["worst"] = entry
    return list(rows.values())


def _severity(entry: Located) -> float:
    """Return the error; 0 for tensors inside a runtime's own formula, which are not steps of the model but right."""
    return 0.0 if entry.match.how == "differs" and entry.reached else entry.match.excess

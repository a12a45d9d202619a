"""What an inference costs, by the rules of the documents that the styles follow."""

from __future__ import annotations

from pathlib import Path

from nfexport.errors import NfexportError
from nfexport.inspection.cost import Cost, Rule, count_cost


def cost_of(path: Path, rule: Rule) -> Cost | None:
    """Return the cost of one inference by this rule ('omz' or 'timm'), None where it cannot be counted."""
    try:
        return count_cost(path, rule=rule, batch=1)
    except NfexportError:
        return None

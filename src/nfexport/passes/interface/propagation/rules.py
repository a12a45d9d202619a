"""All rules, by operator."""

from __future__ import annotations

from nfexport.passes.interface.propagation import axis_rules, joins, moves, products, reshape, targets
from nfexport.passes.interface.propagation.walk import Rule

RULES: dict[str, Rule] = {
    **axis_rules.RULES,
    **joins.RULES,
    **moves.RULES,
    **products.RULES,
    **reshape.RULES,
    **targets.RULES,
}

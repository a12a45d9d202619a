"""All rules, by operator."""

from __future__ import annotations

from nfexport.passes.batch.batching import axes, joins, moves, products, reshape, targets
from nfexport.passes.batch.batching.walk import Rule

RULES: dict[str, Rule] = {
    **axes.RULES,
    **joins.RULES,
    **moves.RULES,
    **products.RULES,
    **reshape.RULES,
    **targets.RULES,
}

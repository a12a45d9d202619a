"""How each operator is carried from one opset to another: a table of those that stayed the same, and rules.

A new rule goes into the file of its kind, and into that file's RULES.
"""

from __future__ import annotations

from nfexport.passes.opset.rules import (
    activations,
    axes,
    interpolation,
    normalisation,
    pooling,
    products,
    shapes,
    slices,
    values,
)
from nfexport.passes.opset.rules.rewrite_site import Rule

RULES: dict[str, Rule] = {
    **activations.RULES,
    **axes.RULES,
    **normalisation.RULES,
    **pooling.RULES,
    **products.RULES,
    **interpolation.RULES,
    **shapes.RULES,
    **slices.RULES,
    **values.RULES,
}
"""Which rule carries an operator; one that is not here is carried as it is, if unchanged.ROWS allows."""

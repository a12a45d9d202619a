"""What a verification may still rely on after some passes, by what they declare."""

from __future__ import annotations

from collections.abc import Iterable

from nfexport.errors import NfexportError
from nfexport.passes import registry
from nfexport.passes.base import Changes
from nfexport.recipe.quantize_step import QUANTIZE
from nfexport.recipe.recipe import PassStep

EVERYTHING = Changes.WEIGHTS | Changes.FACTORS | Changes.INTERFACE | Changes.NUMBERS


def keeps_weights(steps: Iterable[PassStep]) -> bool:
    """Say whether no pass changed a weight of the file other than to fold its standardisation."""
    return not Changes.WEIGHTS & changes_of(steps)


def moves_factors(steps: Iterable[PassStep]) -> bool:
    """Say whether tensors of the file may be multiples of the network's own, by constants that were moved."""
    return bool(Changes.FACTORS & changes_of(steps))


def changes_of(steps: Iterable[PassStep]) -> Changes:
    """Return what the steps may change, all together.

    A pass that is not available is taken at what its origin recorded; one without a record may change everything."""
    found = Changes.NOTHING
    for step in steps:
        found |= _changes(step)
    return found


def _changes(step: PassStep) -> Changes:
    if step.name == QUANTIZE:
        # a verification of int8 has a rule of its own
        return Changes.NOTHING
    try:
        return registry.get(step.name).from_params(step.params).what_changes()
    except NfexportError:
        if step.origin is None:
            return EVERYTHING
    names = {change.name.lower(): change for change in Changes if change.name}
    result = Changes.NOTHING
    for name in step.origin.changes:
        result |= names.get(name, EVERYTHING)
    return result

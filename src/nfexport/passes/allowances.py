"""What the verifier may still assume after some passes, according to their declarations."""

from __future__ import annotations

from collections.abc import Iterable

from nfexport.errors import NfexportError
from nfexport.passes import registry
from nfexport.passes.base import Changes
from nfexport.recipe.quantize_step import QUANTIZE
from nfexport.recipe.recipe import PassStep

EVERYTHING = Changes.WEIGHTS | Changes.FACTORS | Changes.INTERFACE | Changes.NUMBERS


def keeps_weights(steps: Iterable[PassStep]) -> bool:
    """Return whether no pass changed a stored weight, apart from folding weight standardisation."""
    return not Changes.WEIGHTS & changes_of(steps)


def explains_weights(steps: Iterable[PassStep]) -> bool:
    """Return whether the model explains every stored number: only passes of nfexport itself changed any."""
    foreign = changes_of(step for step in steps if step.origin is not None)
    return not (Changes.WEIGHTS | Changes.NUMBERS) & foreign


def moves_factors(steps: Iterable[PassStep]) -> bool:
    """Return whether tensors of the file may be constant multiples of the model's, because factors were moved."""
    return bool(Changes.FACTORS & changes_of(steps))


def changes_of(steps: Iterable[PassStep]) -> Changes:
    """Return the union of what the steps may change.

    For a pass that is not installed the recorded origin counts; without one, the pass may change everything."""
    found = Changes.NOTHING
    for step in steps:
        found |= _changes(step)
    return found


def _changes(step: PassStep) -> Changes:
    if step.name == QUANTIZE:
        # int8 files have their own verification rule
        return Changes.NOTHING
    try:
        return registry.get(step.name).from_params(step.params).what_changes()
    except NfexportError:
        if step.origin is None:
            return EVERYTHING
    names = {name: change for change in Changes for name in change.names()}
    result = Changes.NOTHING
    for name in step.origin.changes:
        result |= names.get(name, EVERYTHING)
    return result

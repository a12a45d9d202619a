"""Find a network's weights under a prefix, as Lightning and other wrappers save them: 'model.stem.conv1.weight'."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from nfexport.errors import CheckpointError
from nfexport.recipe.validation import printable

_SHARE = 0.5
"""Least share of a network's tensors that must lie under a prefix; a classifier may be elsewhere."""


def under_prefix(
    state: Mapping[str, torch.Tensor], expected: Collection[str], path: Path, *, ema: bool | None = None
) -> tuple[dict[str, torch.Tensor], str, bool | None]:
    """Return the tensors of a network with their own names, the prefix that was taken away ('' mostly), and whether
    they are averaged ones (None if there is one set only).

    A prefix with 'ema' in it holds averaged weights, which are preferred unless ema is False.
    Raises CheckpointError if several networks of this kind are in the file, or if ema asks for what is not there."""
    prefixes = [] if not state.keys().isdisjoint(expected) else _prefixes(state, expected)
    averaged = [prefix for prefix in prefixes if "ema" in prefix.lower()]
    raw = [prefix for prefix in prefixes if prefix not in averaged]
    if ema is True and not averaged:
        raise CheckpointError(f"'{path}' holds no averaged weights", fix="leave --ema out")
    chosen = averaged if averaged and ema is not False else raw
    if len(chosen) > 1:
        raise CheckpointError(
            f"'{path}' holds several networks ({', '.join(printable(prefix) for prefix in chosen)})",
            fix="save the state dict of one of them",
        )
    if not chosen:
        return dict(state), "", None
    (prefix,) = chosen
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return own, prefix, bool(averaged) and prefix in averaged if averaged and raw else None


def _prefixes(state: Mapping[str, torch.Tensor], expected: Collection[str]) -> list[str]:
    """Return the prefixes under which at least a share of the network's names are."""
    marker = next(iter(expected))
    candidates = {name.removesuffix(marker) for name in state if name.endswith(f".{marker}")}
    least = _SHARE * len(expected)
    return sorted(prefix for prefix in candidates if sum(f"{prefix}{name}" in state for name in expected) >= least)

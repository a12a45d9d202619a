"""What people say of a model, and what was measured of a file: entries of metadata_props beside the recipe.

    nfexport.about        title, summary, preset, licence, citations, and the accuracy that is claimed
    nfexport.evaluation   the accuracy that `nfexport evaluate --record` measured

Neither changes what the file computes, and the recipe's digest does not cover them. Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from nfexport.errors import RecipeError

ABOUT_KEY = "nfexport.about"
EVALUATION_KEY = "nfexport.evaluation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of pictures, in per cent, whose class is the best (top1), or among the best five (top5).

    dataset is what was evaluated on, pictures their number if known, source who says so."""

    top1: float
    top5: float | None = None
    dataset: str | None = None
    pictures: int | None = None
    source: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What a preset, or timm's configuration of trained weights, says of a model.

    preset and form ('original' or 'converted') name where the interface comes from. licence is an SPDX
    identifier; citations are BibTeX entries or addresses; claimed is the accuracy that others published."""

    title: str
    summary: str = ""
    preset: str | None = None
    form: str | None = None
    licence: str | None = None
    dataset: str | None = None
    origin: str | None = None
    citations: tuple[str, ...] = ()
    claimed: Accuracy | None = None


def write_about(about: About) -> dict[str, str]:
    """Return the entry that carries it."""
    return {ABOUT_KEY: _canonical(about)}


def read_about(metadata: Mapping[str, str]) -> About | None:
    """Return what a file's metadata says of its model, or None. Raises RecipeError if it cannot be read."""
    raw = _read(metadata, ABOUT_KEY)
    if raw is None:
        return None
    try:
        claimed = raw.pop("claimed", None)
        citations = tuple(raw.pop("citations", ()))
        return About(**raw, citations=citations, claimed=None if claimed is None else Accuracy(**claimed))
    except (TypeError, AttributeError) as error:
        raise _unreadable(ABOUT_KEY, error) from error


def write_evaluation(accuracy: Accuracy) -> dict[str, str]:
    """Return the entry that carries a measured accuracy."""
    return {EVALUATION_KEY: _canonical(accuracy)}


def read_evaluation(metadata: Mapping[str, str]) -> Accuracy | None:
    """Return the accuracy that was measured of this file, or None. Raises RecipeError if it cannot be read."""
    raw = _read(metadata, EVALUATION_KEY)
    try:
        return None if raw is None else Accuracy(**raw)
    except TypeError as error:
        raise _unreadable(EVALUATION_KEY, error) from error


def _canonical(value: About | Accuracy) -> str:
    return json.dumps(dataclasses.asdict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _read(metadata: Mapping[str, str], key: str) -> dict[str, Any] | None:
    text = metadata.get(key)
    if text is None:
        return None
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise _unreadable(key, error) from error
    if not isinstance(raw, dict):
        raise _unreadable(key, TypeError("it is no object"))
    return raw


def _unreadable(key: str, error: Exception) -> RecipeError:
    return RecipeError(f"the file's entry '{key}' cannot be read ({error})", fix="export the model again")

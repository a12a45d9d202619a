"""Published facts about a model and measured results of a file: metadata_props entries next to the recipe.

    nfexport.about        title, summary, preset, licence, citations, and the accuracy that is claimed
    nfexport.evaluation   the accuracy that `nfexport evaluate --record` measured

Neither changes what the file computes, and the recipe's digest does not cover them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from nfexport.recipe.recipe import canonical
from nfexport.recipe.validation import Positive, convert, parse_json

ABOUT_KEY = "nfexport.about"
EVALUATION_KEY = "nfexport.evaluation"

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]

T = TypeVar("T")


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Share of images, in per cent, whose class is the best (top1), or among the best five (top5).

    dataset is what was evaluated on, images their number if known, source who says so."""

    top1: Percent
    top5: Percent | None = None
    dataset: str | None = None
    images: Positive | None = None
    source: str | None = None


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Facts about a model from a preset or from timm's configuration of trained weights.

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
    return {ABOUT_KEY: canonical(about)}


def read_about(metadata: Mapping[str, str]) -> About | None:
    """Return the facts about the model in a file's metadata, or None. Raises RecipeError if they cannot be read."""
    return _read(metadata, ABOUT_KEY, About)


def write_evaluation(accuracy: Accuracy) -> dict[str, str]:
    """Return the entry that carries a measured accuracy."""
    return {EVALUATION_KEY: canonical(accuracy)}


def read_evaluation(metadata: Mapping[str, str]) -> Accuracy | None:
    """Return the measured accuracy of this file, or None. Raises RecipeError if it cannot be read."""
    return _read(metadata, EVALUATION_KEY, Accuracy)


def _read(metadata: Mapping[str, str], key: str, kind: type[T]) -> T | None:
    text = metadata.get(key)
    if text is None:
        return None
    what = f"the file's entry '{key}'"
    return convert(parse_json(text, what, prose=True), kind, what)

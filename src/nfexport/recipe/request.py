"""A recipe as people write it: what is asked for, before anything is resolved."""

from __future__ import annotations

import msgspec

from nfexport.recipe.export_options import ExportOptions, Source
from nfexport.recipe.recipe import Operation, Recipe


class RecipeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a recipe that is asked for: an export, and what is done to the finished file afterwards."""

    source: Source
    options: ExportOptions = ExportOptions()
    operations: tuple[Operation, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe) -> RecipeRequest:
        """Return what was asked for when a file was written."""
        return cls(source=recipe.source, options=recipe.options, operations=recipe.operations)

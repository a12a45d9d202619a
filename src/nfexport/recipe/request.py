"""A recipe as users write it: the requested options, before anything is resolved."""

from __future__ import annotations

import msgspec

from nfexport.recipe.export_options import ExportOptions, Source
from nfexport.recipe.recipe import Operation, Recipe


class RecipeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The requested part of a recipe: an export, and the operations on the finished file.

    needs_checkpoint says that the weights came from a file, which a recipe does not hold."""

    source: Source
    options: ExportOptions = ExportOptions()
    operations: tuple[Operation, ...] = ()
    needs_checkpoint: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> RecipeRequest:
        """Return the request from which a file was written."""
        return cls(
            source=recipe.source,
            options=recipe.options,
            operations=recipe.operations,
            needs_checkpoint=recipe.weights.kind == "checkpoint",
        )

"""Which rewrites make a file faster, and what asks for them: the same for an export and for surgery.

Standard library only. Each rewrite computes what was there, and was measured to win (docs/speed.md).
"""

from __future__ import annotations

import dataclasses

from nfexport.recipe.recipe import PassStep

REWRITES = ("merge-groups", "merge-affine", "pool-globally", "merge-pads", "multiply-gates")
"""The passes that make a file faster and are no folds, in the order in which they run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """What shall be rewritten; None follows optimize."""

    optimize: bool = False
    merge_groups: bool | None = None
    merge_affine: bool | None = None
    pool_globally: bool | None = None
    merge_pads: bool | None = None
    multiply_gates: bool | None = None

    def names(self, *folds: str) -> tuple[str, ...]:
        """Return the passes: with optimize these folds, and every rewrite that is not refused."""
        return (*(folds if self.optimize else ()), *filter(self._asks_for, REWRITES))

    def _asks_for(self, rewrite: str) -> bool:
        asked: bool | None = getattr(self, rewrite.replace("-", "_"))
        return self.optimize if asked is None else asked


def flagged(**flags: bool) -> tuple[str, ...]:
    """Return the passes whose flag is set: fold_ws stands for fold-ws."""
    return tuple(name.replace("_", "-") for name, is_set in flags.items() if is_set)


def steps(*names: str) -> list[PassStep]:
    """Return one step for each pass, however often it is named."""
    return [PassStep(name=name) for name in dict.fromkeys(names)]

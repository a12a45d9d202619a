"""Which rewrites make a file faster, and what asks for them: the same for an export and for surgery.

Standard library only. Each rewrite computes what was there, and was measured to win (docs/speed.md).
"""

from __future__ import annotations

import dataclasses

from nfexport.recipe import PassStep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """What shall be rewritten; None follows optimize."""

    optimize: bool = False
    merge_groups: bool | None = None
    merge_affine: bool | None = None
    pool_globally: bool | None = None
    merge_pads: bool | None = None

    def names(self, *folds: str) -> tuple[str, ...]:
        """Return the passes: with optimize these folds, and every rewrite that is not refused."""
        rewrites = {
            "merge-groups": self.merge_groups,
            "merge-affine": self.merge_affine,
            "pool-globally": self.pool_globally,
            "merge-pads": self.merge_pads,
        }
        wanted = [name for name, asked in rewrites.items() if (self.optimize if asked is None else asked)]
        return (*(folds if self.optimize else ()), *wanted)


def flagged(**flags: bool) -> tuple[str, ...]:
    """Return the passes whose flag is set: fold_ws stands for fold-ws."""
    return tuple(name.replace("_", "-") for name, is_set in flags.items() if is_set)


def steps(*names: str) -> list[PassStep]:
    """Return one step for each pass, however often it is named."""
    return [PassStep(name=name) for name in dict.fromkeys(names)]

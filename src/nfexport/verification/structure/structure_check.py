"""What a comparison of two graphs found, in words and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

MOST_NAMED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureCheck:
    """Whether a file's graph is the one that its recipe gives.

    proven is None where the two were not compared. nodes and tensors are how many were found equal, 0 for files of
    another format, which are compared byte by byte; rounded is how many
    of the tensors are equal to a few units in the last place only. differences are sentences, in the order of the
    file's nodes. rare names the operators of a graph that was not compared by which it may treat rare values unlike
    the usual ones, with their number."""

    proven: bool | None
    nodes: int = 0
    tensors: int = 0
    rounded: int = 0
    differences: tuple[str, ...] = ()
    rare: str = ""

    @property
    def failed(self) -> bool:
        """True if the graphs were compared and differ."""
        return self.proven is False

    def preceded(self, found: Sequence[str]) -> StructureCheck:
        """Return the check with further differences in front of its own."""
        every = (*found, *self.differences)
        return dataclasses.replace(self, proven=not every, differences=every)

    def summary(self) -> str:
        """Return the result as one sentence, without a full stop at its end."""
        if self.proven is None:
            holds = f", and it holds {self.rare}, which may act on rare values alone" if self.rare else ""
            return f"sampled, not proven{holds}; --strict compares the graph with a rebuilt one"
        if self.proven and not self.nodes:
            return "proven, the files are byte for byte those that the recipe gives"
        if self.proven:
            rounding = f" ({self.rounded} of them to a few units in the last place)" if self.rounded else ""
            return (
                f"proven, {self.nodes} nodes and {self.tensors} tensors equal those that the recipe gives{rounding}"
            )
        rest = len(self.differences) - MOST_NAMED
        more = f"; and {rest} more" if rest > 0 else ""
        return f"not what the recipe gives: {'; '.join(self.differences[:MOST_NAMED])}{more}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**dataclasses.asdict(self), "differences": list(self.differences), "summary": self.summary()}

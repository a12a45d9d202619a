"""The outputs that the network itself returns, as opposed to those computed from its logits."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.recipe.recipe import SCORES, Output


def traced_outputs(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Return the outputs that the network itself has to return."""
    direct = tuple(output for output in outputs if output.kind not in SCORES)
    if len(direct) == len(outputs) or any(output.kind == "logits" for output in direct):
        return direct
    return (*direct, Output(kind="logits", name="logits"))

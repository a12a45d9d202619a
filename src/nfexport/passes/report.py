"""The report of a graph pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassReport:
    """What one pass did: the number of changes, a one-sentence summary, and the facts behind it.

    left_alone maps the name of a node to the reason why the pass did not touch it.
    """

    name: str
    changed: int
    summary: str
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_alone: Mapping[str, str] = dataclasses.field(default_factory=dict)

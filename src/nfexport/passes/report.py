"""The report of a graph pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class PassReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass did: the number of changes, a one-sentence summary, and the facts behind it.

    left_alone maps the name of a node to the reason why the pass did not touch it.
    """

    name: str
    changed: int
    summary: str
    facts: Mapping[str, Any] = {}
    left_alone: Mapping[str, str] = {}

"""The types of a manifest's fields: what each may hold, checked when a manifest is read.

A golden may come from anyone. A name in it becomes part of a path, and a text is printed, so neither may hold more
than these types allow.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from nfexport.recipe.control_characters import CONTROL

_UNSAFE = re.compile(f"[{CONTROL}]")

Text = Annotated[str, msgspec.Meta(pattern=f"^[^{CONTROL}]*$", max_length=10_000)]
"""A name or a sentence that can be printed."""

FileName = Annotated[str, msgspec.Meta(pattern=rf"^(?!\.\.?$)[^/\\{CONTROL}]+$", max_length=255)]
"""The name of a file, without a folder."""

DataFolder = Annotated[str, msgspec.Meta(pattern=r"^test_data_set_[0-9]{1,6}$")]
DataFile = Annotated[str, msgspec.Meta(pattern=r"^(input|output)_[0-9]{1,6}\.pb$")]
DType = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_ ]{0,30}$")]
Limit = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
"""The largest error that is allowed, absolute."""


def printable(text: str) -> str:
    """Return a text that can be printed: '?' stands for each character that a terminal would interpret."""
    return _UNSAFE.sub("?", text)

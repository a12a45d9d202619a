"""The versions of the packages that a file's bytes depend on."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence

RECORDED = ("torch", "onnx", "nfexport")
"""The packages whose version every recipe records."""


def recorded_versions(packages: Sequence[str] = ()) -> dict[str, str]:
    """Return the version of each recorded package, and of those that a model's source adds, without the name of its
    build: '2.13.0+cpu' and '2.13.0' trace alike, and the build must not change the bytes."""
    return {name: version(name) for name in (*RECORDED, *packages)}


@functools.cache
def version(package: str) -> str:
    """Return the version of an installed package. Raises PackageNotFoundError if it is not."""
    return importlib.metadata.version(package).partition("+")[0]


__version__ = version("nfexport")

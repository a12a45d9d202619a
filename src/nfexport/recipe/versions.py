"""The versions of the packages that a file's bytes depend on."""

from __future__ import annotations

import functools
import importlib.metadata

RECORDED = ("torch", "timm", "onnx", "nfexport")
"""The packages whose version a recipe records."""


def recorded_versions() -> dict[str, str]:
    """Return the version of each recorded package, without the name of its build: '2.13.0+cpu' and '2.13.0' trace
    alike, and the build must not change the bytes."""
    return {name: version(name) for name in RECORDED}


@functools.cache
def version(package: str) -> str:
    """Return the version of an installed package. Raises PackageNotFoundError if it is not."""
    return importlib.metadata.version(package).partition("+")[0]


__version__ = version("nfexport")

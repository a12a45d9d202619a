"""Find what other packages add to nfexport, by entry points.

    nfexport.passes     a graph pass:     subclass of nfexport.passes.base.Pass
    nfexport.runtimes   a runtime:        nfexport.runtimes.Runtime
    nfexport.sources    a kind of source: module or object with the functions of nfexport.sources.SourceKind
    nfexport.formats    an output format: see nfexport.formats

Only the standard library is used here, and nothing is imported until it is asked for by name.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nfexport.errors import InputError

if TYPE_CHECKING:
    import importlib.metadata

Group = Literal["nfexport.passes", "nfexport.runtimes", "nfexport.sources", "nfexport.formats"]


@functools.cache
def installed(group: Group) -> Mapping[str, importlib.metadata.EntryPoint]:
    """Return the entry points of a group by name, sorted; of two with one name, the first on the path wins."""
    if not may_be_any():
        return {}
    import importlib.metadata

    found: dict[str, importlib.metadata.EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=group):
        found.setdefault(point.name, point)
    return dict(sorted(found.items()))


def load(group: Group, name: str) -> Any:
    """Import and return what an entry point names.

    Raises InputError, with the package at fault, if it cannot be imported."""
    point = installed(group)[name]
    try:
        return point.load()
    except Exception as error:  # another package's code may raise anything while it is imported
        package = point.dist.name if point.dist is not None else point.value
        raise InputError(
            f"'{name}' of the package {package} cannot be imported ({type(error).__name__}: {error})",
            fix=f"update or uninstall {package}",
        ) from error


def origin(thing: Any) -> dict[str, str]:
    """Return where code of another package or file comes from: its package and version if it has one, its qualified
    name, and the sha256 of the source file that defines it."""
    import hashlib
    import importlib.metadata
    import inspect

    found = {"name": f"{thing.__module__}:{thing.__qualname__}"}
    top = thing.__module__.partition(".")[0]
    for package in importlib.metadata.packages_distributions().get(top, ())[:1]:
        found |= {"package": package, "version": importlib.metadata.version(package)}
    found["sha256"] = hashlib.sha256(Path(inspect.getfile(thing)).read_bytes()).hexdigest()
    return found


@functools.cache
def may_be_any() -> bool:
    """Return whether an installed package may add something to nfexport; False is certain.

    importlib.metadata takes 40 ms to import, a third of a help page, and few environments have such a package. It is
    not needed if no entry_points.txt on the path has a section of ours, and the path has no archives."""
    return any(_may_add(place) for place in map(Path, sys.path) if place.exists())


def _may_add(place: Path) -> bool:
    if not place.is_dir():  # an archive
        return True
    try:
        entries = [entry for entry in os.scandir(place) if entry.name.endswith((".dist-info", ".egg-info", ".egg"))]
    except OSError:
        return False
    return any(entry.name.endswith(".egg") or _has_section(Path(entry.path, "entry_points.txt")) for entry in entries)


def _has_section(file: Path) -> bool:
    try:
        return b"[nfexport." in file.read_bytes()
    except OSError:  # no entry points
        return False

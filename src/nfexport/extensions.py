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
from types import ModuleType
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


def import_file(file: str | Path, what: str) -> ModuleType:
    """Import a Python file that the user names, as a module of its own, and return it.

    Two files of one name are two modules, and one file is the same module wherever it lies. The folder of the file is
    searched last for what it imports. Raises InputError, in the name of `what`, if it cannot be imported."""
    import hashlib
    import importlib.util

    path = Path(file)
    if not path.is_file():
        raise InputError(f"'{path}' does not exist", fix=f"name the Python file that holds the {what}")
    name = f"nfexport_{what}_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"'{path}' is not a Python file", fix=f"name the Python file that holds the {what}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(
            f"'{path}' cannot be imported ({type(error).__name__}: {_first_line(error)})", fix="fix the file"
        ) from error
    return module


def import_module(name: str) -> ModuleType:
    """Import a module that the user names. Raises InputError if there is none, or if it cannot be imported."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no Python module '{name}'", fix="install its package, or name its file: FILE.py:NAME"
            ) from error
        raise InputError(
            f"'{name}' cannot be imported: the package '{error.name}' is not installed",
            fix=f"pip install {error.name}",
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"'{name}' cannot be imported ({type(error).__name__}: {_first_line(error)})", fix="import it in Python"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no message"


def package_of(module: str) -> tuple[str | None, str | None]:
    """Return the installed package that a module is of, and its version; None where it is of none."""
    import importlib.metadata

    for package in importlib.metadata.packages_distributions().get(module.partition(".")[0], ())[:1]:
        return package, importlib.metadata.version(package)
    return None, None


def origin(thing: Any) -> dict[str, str]:
    """Return where code of another package or file comes from: its package and version if it has one, its qualified
    name, and the sha256 of the source file that defines it."""
    import hashlib
    import inspect

    found = {"name": f"{thing.__module__}:{thing.__qualname__}"}
    package, version = package_of(thing.__module__)
    if package is not None and version is not None:
        found |= {"package": package, "version": version}
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

"""Find the graph passes: nfexport's own by file, those of other packages by entry point.

A module of a stage's folder (passes/folds/fold_ws.py) is a pass; what passes of a stage share is in folders below. A
pass is imported when it is asked for by name; the order of all of them is worked out from what they declare.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from nfexport import extensions
from nfexport.errors import InputError, RecipeError
from nfexport.passes.base import Pass

GROUP: extensions.Group = "nfexport.passes"

_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")

_of_files: dict[str, type[Pass]] = {}
"""The passes that a user named by their files, in this process (see load_file)."""


@functools.cache
def built_in() -> Mapping[str, str]:
    """Return the module of each pass that comes with nfexport, by the name of the pass."""
    folder = Path(__file__).parent
    files = sorted(path for path in folder.glob("*/*.py") if path.stem != "__init__")
    return {path.stem.replace("_", "-"): f"{__package__}.{path.parent.name}.{path.stem}" for path in files}


def names() -> tuple[str, ...]:
    """Return the names of all passes, sorted."""
    return tuple(sorted({*built_in(), *extensions.installed(GROUP), *_of_files}))


def get(name: str) -> type[Pass]:
    """Return the pass of that name.

    Raises RecipeError if there is none, InputError if another package's cannot be imported."""
    if name in _of_files:
        return _of_files[name]
    if name in built_in():
        return _class_of(built_in()[name])
    if name in extensions.installed(GROUP):
        return _of_entry_point(name, extensions.installed(GROUP)[name].value)
    raise RecipeError(f"there is no graph pass '{name}'", fix=f"use one of {', '.join(names())}")


def all_passes() -> tuple[type[Pass], ...]:
    """Return every pass, in the order in which they run; once each."""
    return _sorted(names())


def order() -> tuple[str, ...]:
    """Return the names of the passes in the order in which they run; one that runs again is there twice."""
    found = list(all_passes())
    result = [cls.name for cls in found]
    for cls in found:
        if again := [result.index(name) for name in cls.again_after if name in result]:
            result.insert(max(again) + 1, cls.name)
    return tuple(result)


def is_built_in(cls: type[Pass]) -> bool:
    """Return whether a pass comes with nfexport."""
    return built_in().get(cls.name) == cls.__module__


def is_of_file(cls: type[Pass]) -> bool:
    """Return whether a user named a pass by its file; it runs only where it is asked for."""
    return cls.name in _of_files


def load_file(reference: str) -> type[Pass]:
    """Import a user's own pass, 'FILE.py:Class', and return it; from now on it is known by its name.

    The class is one of ours, an onnx_ir pass, or an object that holds onnxscript rewrite rules (see adapter.py).
    Raises InputError if the file or the class does not exist, cannot be imported, or is not a pass."""
    file, _, attribute = reference.rpartition(":")
    path = Path(file)
    if not file or not attribute or path.suffix != ".py":
        raise InputError(f"'{reference}' does not name a pass", fix="pass --pass FILE.py:Class")
    module = extensions.import_file(path, "pass")
    if not hasattr(module, attribute):
        raise InputError(f"'{path}' has no '{attribute}'", fix="name a class that the file defines")
    cls = _checked(attribute, getattr(module, attribute), module.__name__)
    if cls.name in built_in():
        raise InputError(f"'{reference}' is named '{cls.name}', as one of nfexport's passes", fix="rename it")
    _check_usable(attribute, cls)
    _of_files[cls.name] = cls
    _sorted.cache_clear()
    try:
        all_passes()
    except InputError:  # its order contradicts that of others, which stay usable
        del _of_files[cls.name]
        _sorted.cache_clear()
        raise
    return cls


@functools.cache
def _of_entry_point(name: str, value: str) -> type[Pass]:
    """Return the pass that an entry point leads to; value says where."""
    cls = _checked(name, extensions.load(GROUP, name), value.partition(":")[0])
    if cls.name != name:
        raise InputError(
            f"the entry point '{name}' of {GROUP} leads to a pass named '{cls.name}'",
            fix="give both one name, in the package that adds it",
        )
    return cls


def _check_usable(attribute: str, cls: type[Pass]) -> None:
    """Raise InputError for a class without `call`, or with parameters that a recipe cannot hold."""
    if not callable(getattr(cls, "call", None)):
        raise InputError(f"'{attribute}' has no method `call`", fix="define call(self, model)")
    try:
        cls.checked_params({})
    except RecipeError:  # a parameter that has to be given
        pass
    except (TypeError, ValueError, NameError) as error:
        raise InputError(
            f"the parameters of '{attribute}' cannot be read ({error})",
            fix="give its fields types and defaults that JSON can hold",
        ) from error


def _class_of(module_name: str) -> type[Pass]:
    module = importlib.import_module(module_name)
    found: list[type[Pass]] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Pass) and value.__module__ == module_name
    ]
    (cls,) = found
    return cls


def _checked(name: str, found: object, module: str) -> type[Pass]:
    """Return what a user or another package names as a pass, in a module."""
    if not (isinstance(found, type) and issubclass(found, Pass)):
        from nfexport.passes.adapter import adapted

        return adapted(name, found, module)
    declared = getattr(found, "name", "")
    if not isinstance(declared, str) or not _NAME.fullmatch(declared):
        raise InputError(
            f"the pass '{name}' is not named in lower-case words with hyphens",
            fix='give the class a `name`, such as "fuse-gates"',
        )
    return found


def _check_stages(cls: type[Pass], classes: Mapping[str, type[Pass]]) -> None:
    """Raise InputError if a pass asks to run before one of an earlier stage, or after one of a later stage."""
    wrong = [name for name in cls.before if name in classes and classes[name].stage < cls.stage]
    wrong += [name for name in cls.after if name in classes and classes[name].stage > cls.stage]
    if wrong:
        raise InputError(
            f"the stage of the pass '{cls.name}' contradicts its order relative to '{wrong[0]}'",
            fix="change its `stage`, `after` or `before`",
        )


@functools.cache
def _sorted(wanted: Iterable[str]) -> tuple[type[Pass], ...]:
    """Sort passes by their stages, and by what they say of each other.

    Raises InputError if what they say contradicts itself."""
    classes = {cls.name: cls for cls in map(get, wanted)}
    for cls in classes.values():
        _check_stages(cls, classes)
    result: list[type[Pass]] = []
    for stage in sorted({cls.stage for cls in classes.values()}):
        here = {name: cls for name, cls in classes.items() if cls.stage is stage}
        earlier: dict[str, set[str]] = {name: set(cls.after) & here.keys() for name, cls in here.items()}
        for name, cls in here.items():
            for later in here.keys() & set(cls.before):
                earlier[later].add(name)
        sorter = TopologicalSorter(earlier)
        try:
            sorter.prepare()
        except CycleError as error:
            raise InputError(
                f"the passes {' → '.join(error.args[1])} each ask to run before the next",
                fix="change `after` or `before` of one of them",
            ) from error
        while ready := sorted(sorter.get_ready()):
            result += [here[name] for name in ready]
            sorter.done(*ready)
    return tuple(result)

"""Find a runtime by its name: nfexport's own by their files, those of other packages by their entry points."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfexport import extensions
from nfexport.errors import InputError, MissingPackage
from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line

GROUP: extensions.Group = "nfexport.runtimes"

ATTRIBUTE = "RUNTIME"
"""What a runtime's file calls its declaration."""


@functools.cache
def built_in() -> tuple[str, ...]:
    """Return the names of the runtimes that nfexport has a file for, sorted, whether installed or not."""
    folder = Path(__file__).parents[1]
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))


def runtimes() -> tuple[str, ...]:
    """Return the names of all runtimes, those of other packages included, sorted, whether installed or not."""
    return tuple(sorted({*built_in(), *extensions.installed(GROUP)}))


def find(name: str) -> Runtime:
    """Return what a runtime declares; none of its packages is imported for that.

    Raises InputError for a runtime of another name, and for an entry point that cannot be imported or does not
    name a Runtime."""
    if name in built_in():
        found = getattr(importlib.import_module(f"nfexport.runtimes.{name}"), ATTRIBUTE)
        assert isinstance(found, Runtime)
        return found
    if name not in extensions.installed(GROUP):
        raise InputError(f"there is no runtime '{name}'", fix=f"use one of {', '.join(runtimes())}")
    found = extensions.load(GROUP, name)
    if not isinstance(found, Runtime):
        raise InputError(
            f"the entry point '{name}' of the group {GROUP} names a {type(found).__name__} instead of a Runtime",
            fix=f"let it name a nfexport.runtimes.Runtime, such as 'package.module:{ATTRIBUTE}'",
        )
    return found


def load(name: str) -> Runtime:
    """Return a runtime whose packages are imported.

    Raises what find does, and MissingPackage if a package is missing or too old."""
    runtime = find(name)
    try:
        runtime.load()
    except ImportError as error:
        raise MissingPackage(
            f"the runtime '{name}' cannot be imported ({one_line(str(error))})", fix=runtime.install
        ) from error
    return runtime


def open_session(
    model: Model,
    *,
    runtime: str = "onnxruntime",
    providers: Sequence[str] = (),
    threads: int | None = None,
    optimise: bool = True,
) -> Session:
    """Load a file into a runtime.

    providers are execution providers in order of preference, for the runtimes that take them; others compute where
    they compute. threads are what one inference may use; None leaves that to the runtime. optimise is False for a
    graph that is to run as it stands. Raises InputError for a runtime or provider of another name, or for a number of
    threads, or a graph as it stands, that the runtime does not take, MissingPackage if its package is not installed,
    and OnnxFileError if it refuses the file."""
    chosen = load(runtime)
    options: dict[str, Any] = {}
    if providers and chosen.takes_providers:
        options["providers"] = tuple(providers)
    if threads is not None:
        if not chosen.takes_threads:
            others = ", ".join(name for name in built_in() if find(name).takes_threads)
            raise InputError(
                f"the runtime '{runtime}' cannot be told how many threads to use",
                fix=f"leave --threads out, or use one of {others}",
            )
        options["threads"] = threads
    if not optimise:
        if not chosen.takes_optimise:
            raise InputError(
                f"the runtime '{runtime}' cannot be told to leave the graph as it stands",
                fix="use onnxruntime for it",
            )
        options["optimise"] = False
    return chosen.open_session(model, **options)

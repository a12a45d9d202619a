"""Where the code of a user's module comes from, as a recipe keeps it."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path
from typing import Any

from nfexport import extensions
from nfexport.recipe.recipe import Provenance


def code_origin(thing: Any, *, source: str, name: str) -> Provenance:
    """Return the package that a class or function is of, and the digest of the file that defines it, where there are
    any; source is the kind of source, name what it was given."""
    module = str(getattr(thing, "__module__", ""))
    package, version = extensions.package_of(module)
    return Provenance(source=source, name=name, package=package, version=version, files=_source_file(thing, module))


def _source_file(thing: Any, module: str) -> dict[str, str]:
    try:
        path = Path(inspect.getfile(inspect.unwrap(thing)))
    except (TypeError, OSError, ValueError):  # defined at a prompt, or in C
        found = getattr(sys.modules.get(module), "__file__", None)
        if found is None:
            return {}
        path = Path(found)
    if path.suffix != ".py" or not path.is_file():
        return {}
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}

"""The runtimes that can run an ONNX file, one file each.

To add one, add a file: `runtimes/NAME.py` with `open_session(model)` that returns a Session. It is then
known as NAME; its own packages are imported when it is first asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from nfexport.errors import InputError, MissingPackage

Model = Path | str | bytes
"""A file, or the bytes of one. Files with external data, or past 2 GiB, are opened by path."""


class Session(Protocol):
    """A file, loaded into a runtime.

    inputs maps names to shapes, in order, a symbolic size being a string; outputs names the outputs, in
    order."""

    runtime: str
    version: str
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name. Raises RuntimeError with the runtime's reason, in one line."""


def runtimes() -> tuple[str, ...]:
    """Return the names of the runtimes that nfexport has a file for, sorted, whether installed or not."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def open_session(model: Model, *, runtime: str = "onnxruntime") -> Session:
    """Load a file into a runtime.

    Raises InputError for a runtime of another name, MissingPackage if its package is not installed, and
    OnnxFileError if it refuses the file."""
    if runtime not in runtimes():
        raise InputError(f"there is no runtime '{runtime}'", fix=f"use one of {', '.join(runtimes())}")
    try:
        module = importlib.import_module(f"{__name__}.{runtime}")
    except ImportError as error:
        raise MissingPackage(
            f"the runtime '{runtime}' cannot be imported ({error})", fix=f"pip install {runtime}"
        ) from error
    session: Session = module.open_session(model)
    return session


def source_of(model: Model) -> str:
    """Name the model for a message."""
    return "the exported model" if isinstance(model, bytes) else str(model)

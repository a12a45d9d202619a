"""The runtimes that can run an ONNX file, one file each.

To add one, add a file: `runtimes/NAME.py` with `open_session(model)` that returns a Session. It is then
known as NAME, and its own packages are imported when it is first asked for. If they are optional, add an
extra NAME to pyproject.toml and the two to EXTRAS, so that who lacks them is told what to install; what pip
cannot install has its way in ELSEWHERE. Sessions refuse with OnnxFileError, stop with RuntimeError, and compute
in float32 where a file says float32: what a runtime does faster and less exactly by default is turned off in
its file, with the reason.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from nfexport.errors import InputError, MissingPackage

EXTRAS = {"opencv": "opencv-python-headless", "openvino": "openvino"}
"""The optional package behind a runtime; the extra of nfexport that installs it has the runtime's name."""

ELSEWHERE = {"migraphx": "install ROCm with MIGraphX, which is on no package index, and put its module on PYTHONPATH"}
"""How to get a runtime that pip does not install."""

THREADED = ("onnxruntime", "openvino")
"""The runtimes that take a number of threads."""

Model = Path | str | bytes
"""A file, or the bytes of one. Files with external data, or past 2 GiB, are opened by path."""


class Session(Protocol):
    """A file, loaded into a runtime.

    inputs maps names to shapes, in order, a symbolic size being a string; outputs names the outputs, in
    order; providers are what the runtime computes on, where it can be told: the first that can run a node runs it."""

    runtime: str
    version: str
    providers: tuple[str, ...]
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name. Raises RuntimeError with the runtime's reason, in one line."""


def runtimes() -> tuple[str, ...]:
    """Return the names of the runtimes that nfexport has a file for, sorted, whether installed or not."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def open_session(
    model: Model, *, runtime: str = "onnxruntime", providers: Sequence[str] = (), threads: int | None = None
) -> Session:
    """Load a file into a runtime.

    providers are ONNX Runtime's execution providers in order of preference, CPUExecutionProvider by default.
    threads are what one inference may use in the runtimes of THREADED, None for their own choice.
    Raises InputError for a runtime or provider of another name, MissingPackage if its package is not
    installed, and OnnxFileError if it refuses the file."""
    if runtime not in runtimes():
        raise InputError(f"there is no runtime '{runtime}'", fix=f"use one of {', '.join(runtimes())}")
    try:
        module = importlib.import_module(f"{__name__}.{runtime}")
    except ImportError as error:
        package = f"'nfexport[{runtime}]'" if runtime in EXTRAS else runtime
        raise MissingPackage(
            f"the runtime '{runtime}' cannot be imported ({one_line(str(error))})",
            fix=ELSEWHERE.get(runtime, f"pip install {package}"),
        ) from error
    options: dict[str, Any] = {}
    if runtime == "onnxruntime" and providers:
        options["providers"] = tuple(providers)
    if threads is not None:
        if runtime not in THREADED:
            raise InputError(
                f"the runtime '{runtime}' cannot be told how many threads to use",
                fix=f"leave --threads out, or use one of {', '.join(THREADED)}",
            )
        options["threads"] = threads
    session: Session = module.open_session(model, **options)
    return session


def source_of(model: Model) -> str:
    """Name the model for a message."""
    return "the exported model" if isinstance(model, bytes) else str(model)


def one_line(text: str) -> str:
    """Return a runtime's message without its line breaks and its full stop."""
    return " ".join(text.split()).rstrip(".")

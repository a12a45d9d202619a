"""What a runtime declares, and what a file loaded into it can do. Importing this costs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

Model = Path | str | bytes
"""A file, or the bytes of one. Files with external data, or past 2 GiB, are opened by path."""


class Session(Protocol):
    """A file, loaded into a runtime.

    inputs maps names to shapes, in order, a symbolic size being a string; outputs names the outputs, in order;
    providers are what the runtime computes on, where it tells: each node runs on the first that supports it."""

    runtime: str
    version: str
    providers: tuple[str, ...]
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name. Raises RuntimeError with the runtime's reason, in one line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """All that nfexport has to know of a runtime before a file is loaded into it.

    name is what `--runtime` calls it, summary a phrase about it, and install says how to get it. load imports its
    packages; it raises ImportError where one is missing or too old. open_session(model) returns a Session; it takes
    providers, a tuple of names, if takes_providers, threads, a number or None, if takes_threads, and optimise, which
    is False for a graph that is to run as it stands, if takes_optimise. It raises OnnxFileError with the runtime's
    reason if it refuses the model, and runs after load. concurrent says that several threads may run a session at
    once, and that takes_threads."""

    name: str
    summary: str
    install: str
    load: Callable[[], object]
    open_session: Callable[..., Session]
    takes_providers: bool = False
    takes_threads: bool = False
    takes_optimise: bool = False
    concurrent: bool = False


def source_of(model: Model) -> str:
    """Name the model for a message."""
    return "the exported model" if isinstance(model, bytes) else str(model)


def one_line(text: str) -> str:
    """Return a runtime's message without its line breaks and its full stop."""
    return " ".join(text.split()).rstrip(".")

"""What belongs to the whole process, and is changed for the length of a block only.

Python and other packages keep some of their state where every thread sees it: log levels, warning filters, torch's
default dtype, a module's attributes. nfexport changes such state through these context managers alone. All of them

- may be nested, and may overlap in several threads: the block entered last decides, and when the last one is left, in
  whatever order, the state is what it was before the first;
- restore it also when the block raises;
- act on the whole process: code of other threads sees the change for as long as the block lasts.

Only the standard library is imported here; functions that set something of another package are passed in.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_lock = threading.RLock()
"""Held while a value is changed, and not for the length of a block."""


class _Held:
    """A setting while blocks hold it: its value before the first, and that of each block, in order of entry."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self.values: dict[object, Any] = {}


_held: dict[Hashable, _Held] = {}


@contextlib.contextmanager
def setting(
    read: Callable[[], Any], write: Callable[[Any], object], value: Any, *, key: Hashable = None
) -> Iterator[None]:
    """Let a setting of the process have a value until the block ends.

    read and write get and set it; key tells it from others, and is `write` itself unless given."""
    key = write if key is None else key
    block = object()
    with _lock:
        held = _held.setdefault(key, _Held(read()))
        held.values[block] = value
    try:
        with _lock:
            write(value)
        yield
    finally:
        with _lock:
            is_last = next(reversed(held.values)) is block
            del held.values[block]
            if not held.values:
                del _held[key]
            if is_last:
                write(next(reversed(held.values.values()), held.before))


def attribute(owner: Any, name: str, value: Any) -> contextlib.AbstractContextManager[None]:
    """Let an attribute of a module or a class have a value until the block ends."""
    read, write = functools.partial(getattr, owner, name), functools.partial(setattr, owner, name)
    return setting(read, write, value, key=(id(owner), name))


def garbage_collection_paused() -> contextlib.AbstractContextManager[None]:
    """Let Python collect no garbage until the block ends.

    For imports: those of torch and timm make a million objects that stay, and the collector looks through them again
    and again meanwhile."""
    return setting(gc.isenabled, _collect_garbage, False)


@contextlib.contextmanager
def quiet_loggers(*names: str) -> Iterator[None]:
    """Let these loggers, and those below them that have no level of their own, log nothing under CRITICAL."""
    import logging

    with contextlib.ExitStack() as stack:
        for logger in map(logging.getLogger, names):
            read = functools.partial(getattr, logger, "level")
            stack.enter_context(setting(read, logger.setLevel, logging.CRITICAL))
        yield


def logging_disabled() -> contextlib.AbstractContextManager[None]:
    """Let no logger log until the block ends, for code that logs to the root logger."""
    import logging

    return setting(lambda: logging.root.manager.disable, logging.disable, logging.CRITICAL)


def warnings_ignored() -> contextlib.AbstractContextManager[None]:
    """Let no warning be shown or raised until the block ends.

    warnings.catch_warnings alone would not do: two threads that leave in the order in which they entered restore each
    other's filters, and the process stays without warnings. Filters that other code adds in the block are dropped."""
    return setting(lambda: _ignored is not None, _ignore_warnings, True)


def standard_output_discarded() -> contextlib.AbstractContextManager[None]:
    """Let what Python code prints go nowhere until the block ends; what C code prints is not caught."""
    return attribute(sys, "stdout", io.StringIO())


def standard_error_discarded() -> contextlib.AbstractContextManager[None]:
    """Let what Python code prints on stderr go nowhere until the block ends."""
    return attribute(sys, "stderr", io.StringIO())


def variable_unset(name: str) -> contextlib.AbstractContextManager[None]:
    """Let an environment variable have no value until the block ends."""

    def write(value: str | None) -> None:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

    return setting(lambda: os.environ.get(name), write, None, key=("environment", name))


def temporary_files_in(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Let `tempfile` make its files in this folder until the block ends."""
    import tempfile

    return attribute(tempfile, "tempdir", str(folder))


@contextlib.contextmanager
def signal_handled(number: signal.Signals, handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Let a signal have a handler until the block ends; do nothing outside the main thread, as Python allows none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = functools.partial(signal.getsignal, number), functools.partial(signal.signal, number)
    with setting(read, write, handler, key=("signal", number)):
        yield


def skip_last_collection() -> None:
    """Leave what is in memory to the end of the process, which is near: no last search for garbage.

    Not undone: for the command line, just before it exits."""
    gc.freeze()


def abandon_standard_output() -> None:
    """Write no more to a standard output that nobody reads, so that Python does not complain when it exits.

    Not undone: for the command line, just before it exits."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _collect_garbage(on: bool) -> None:
    (gc.enable if on else gc.disable)()


_ignored: contextlib.ExitStack | None = None
"""Restores the filters that were there before warnings were ignored."""


def _ignore_warnings(on: bool) -> None:
    global _ignored
    if on and _ignored is None:
        _ignored = contextlib.ExitStack()
        _ignored.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
    elif not on and _ignored is not None:
        _ignored.close()
        _ignored = None

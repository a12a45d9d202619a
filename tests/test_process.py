"""State of the whole process is changed in a block alone, whatever happens there, and nowhere else."""

from __future__ import annotations

import ast
import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from nfexport import process

# the tests look at warnings themselves, which elsewhere are errors
pytestmark = pytest.mark.filterwarnings("default")

SOURCE = Path(process.__file__).parent

Guard = Callable[[], AbstractContextManager[None]]


def guards(folder: Path) -> dict[str, tuple[Guard, Callable[[], Any], Any]]:
    """Return each guard, what reads the state that it guards, and what the state is inside."""

    def warns() -> bool:
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("a word", stacklevel=1)
        return bool(caught)

    def ignore(number: int, frame: object) -> None: ...

    return {
        "garbage_collection_paused": (process.garbage_collection_paused, gc.isenabled, False),
        "quiet_loggers": (
            lambda: process.quiet_loggers("a", "b"),
            lambda: {logging.getLogger(name).level for name in ("a", "b")},
            {logging.CRITICAL},
        ),
        "logging_disabled": (process.logging_disabled, lambda: logging.root.manager.disable, logging.CRITICAL),
        "warnings_ignored": (process.warnings_ignored, warns, False),
        "standard_output_discarded": (process.standard_output_discarded, lambda: sys.stdout is before, False),
        "standard_error_discarded": (process.standard_error_discarded, lambda: sys.stderr is before_error, False),
        "variable_unset": (lambda: process.variable_unset("NFEXPORT_X"), lambda: os.environ.get("NFEXPORT_X"), None),
        "temporary_files_in": (
            lambda: process.temporary_files_in(folder),
            lambda: tempfile.gettempdir() == str(folder),
            True,
        ),
        "signal_handled": (
            lambda: process.signal_handled(signal.SIGUSR1, ignore),
            lambda: signal.getsignal(signal.SIGUSR1) is ignore,
            True,
        ),
    }


before, before_error = sys.stdout, sys.stderr
NAMES = tuple(guards(Path()))


@pytest.fixture(params=NAMES)
def guard(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Guard, Callable[[], Any], Any]:
    monkeypatch.setitem(globals(), "before", sys.stdout)
    monkeypatch.setitem(globals(), "before_error", sys.stderr)
    monkeypatch.setenv("NFEXPORT_X", "a value")
    return guards(tmp_path)[request.param]


def test_every_guard_is_tested() -> None:
    public = {name for name, value in vars(process).items() if isinstance(value, types.FunctionType)}
    ours = {name for name in public if getattr(process, name).__module__ == process.__name__ and name[0] != "_"}
    lasting = {"skip_last_collection", "abandon_standard_output"}
    assert ours == {*NAMES, "setting", "attribute", *lasting}


def test_a_guard_may_be_nested_and_restores_after_an_error(guard: tuple[Guard, Callable[[], Any], Any]) -> None:
    hold, read, inside = guard
    outside = read()
    assert outside != inside
    with pytest.raises(KeyError), hold():
        with hold():
            assert read() == inside
        assert read() == inside
        raise KeyError
    assert read() == outside


def test_blocks_may_be_left_in_the_order_in_which_they_were_entered(
    guard: tuple[Guard, Callable[[], Any], Any],
) -> None:
    """As two threads leave them."""
    hold, read, inside = guard
    outside = read()
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(hold())
    second.enter_context(hold())
    first.close()
    assert read() == inside
    second.close()
    assert read() == outside


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with process.garbage_collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_block_entered_last_decides_until_it_is_left() -> None:
    owner = types.SimpleNamespace(level=0)
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(process.attribute(owner, "level", 1))
    second.enter_context(process.attribute(owner, "level", 2))
    assert owner.level == 2
    first.close()
    assert owner.level == 2
    second.close()
    assert owner.level == 0


def test_an_inner_block_gives_back_the_value_of_the_outer() -> None:
    owner = types.SimpleNamespace(level=0)
    with process.attribute(owner, "level", 1):
        with process.attribute(owner, "level", 2):
            assert owner.level == 2
        assert owner.level == 1
    assert owner.level == 0


def test_a_value_that_is_refused_leaves_the_setting_as_it_was() -> None:
    values = [0]

    def write(value: int) -> None:
        if value < 0:
            raise ValueError("below 0")
        values[0] = value

    with pytest.raises(ValueError, match="below 0"), process.setting(lambda: values[0], write, -1):
        pass
    assert values == [0]
    with process.setting(lambda: values[0], write, 1):
        assert values == [1]
    assert values == [0]


def test_many_threads_leave_the_process_as_it_was() -> None:
    filters = list(warnings.filters)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(200):
            with process.warnings_ignored(), process.quiet_loggers("a"):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == filters
    assert logging.getLogger("a").level == logging.NOTSET


def test_a_signal_keeps_its_handler_where_python_allows_no_other() -> None:
    found = []

    def work() -> None:
        with process.signal_handled(signal.SIGUSR1, lambda number, frame: None):
            found.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGUSR1)]


SETTERS = {
    *("gc.disable", "gc.enable", "gc.freeze", "logging.disable", "logging.basicConfig", "signal.signal"),
    *("warnings.simplefilter", "warnings.filterwarnings", "warnings.resetwarnings", "warnings.catch_warnings"),
    *("contextlib.redirect_stdout", "contextlib.redirect_stderr", "os.chdir", "os.umask", "os.putenv", "os.dup2"),
    *("os.environ.update", "os.environ.setdefault", "os.environ.pop", "sys.setrecursionlimit", "random.seed"),
    *("np.random.seed", "np.seterr", "socket.setdefaulttimeout", "torch.manual_seed", "torch.set_num_threads"),
    *("torch.set_default_dtype", "torch.set_default_device", "torch.set_float32_matmul_precision"),
    *("torch.use_deterministic_algorithms", "torch.set_num_interop_threads", "torch.set_grad_enabled"),
}
"""Functions that change something for the whole process."""

OWN_PROCESS = {"benchmark/child.py": ["os.dup2"]}
"""What changes the state of a process that nfexport starts, for all its life."""

METHODS = {"setLevel", "setLogLevel"}
"""The same, of any object."""


def unguarded(text: str) -> Iterator[str]:
    """Yield the calls and assignments of a file that change state of the whole process, imports aside."""
    tree = ast.parse(text)
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in SETTERS or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
                yield name
            if name == "setattr" and root(node.args[0]) in imported:
                yield ast.unparse(node)
        elif (
            isinstance(node, (ast.Attribute, ast.Subscript))
            and isinstance(node.ctx, (ast.Store, ast.Del))
            and root(node) in imported
            and "sys.modules" not in ast.unparse(node)
        ):
            yield ast.unparse(node)


def root(node: ast.AST) -> str | None:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def test_nothing_else_changes_state_of_the_process() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): sorted(unguarded(path.read_text(encoding="utf-8")))
        for path in SOURCE.rglob("*.py")
        if path.name != "process.py"
    }
    assert {name: changes for name, changes in found.items() if changes} == OWN_PROCESS


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.environ['A'] = 'b'",
        "import sys; sys.stdout = None",
        "import gc; gc.disable()",
        "import torch; torch._C.log = None",
        "import torch; setattr(torch._C, name, None)",
        "from hub import constants; constants.OFFLINE = True",
        "from os import environ; del environ['A']",
        "import logging; logging.getLogger('a').setLevel(0)",
    ],
)
def test_that_test_can_fail(line: str) -> None:
    assert list(unguarded(line))

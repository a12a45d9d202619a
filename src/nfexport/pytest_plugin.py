"""pytest --nfexport-goldens DIR: every golden below DIR is a test that its file is still the one that was recorded.

pytest loads this at each start, in every project where nfexport is installed: it imports nothing heavy, and
does nothing without the option.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nfexport.errors import NfexportError

if TYPE_CHECKING:
    from nfexport.goldens.golden_check import GoldenCheck


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("nfexport", "goldens of ONNX files")
    group.addoption(
        "--nfexport-goldens",
        action="append",
        default=[],
        metavar="DIR",
        help="Check every golden below DIR, each as one test. May be given several times.",
    )
    group.addoption(
        "--nfexport-models",
        metavar="DIR",
        help="The folder of the ONNX files. [default: next to their goldens, or the copy in a golden]",
    )
    group.addoption(
        "--nfexport-numbers-only",
        action="store_true",
        help="Ignore changed operators, weights and recipes, as 'nfexport golden check' does.",
    )


class ReasonsError(Exception):
    """A file that differs from its golden, or a golden that cannot be used: one line for each reason."""


class GoldenFolder(pytest.Collector):
    """The goldens below one folder."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each golden."""
        from nfexport.goldens.layout import find_goldens

        try:
            for golden in find_goldens(self.path):
                name = golden.relative_to(self.path).as_posix()
                yield GoldenItem.from_parent(self, name=self.path.name if name == "." else name, path=golden)
        except NfexportError as error:
            raise pytest.UsageError(str(error)) from error


class GoldenItem(pytest.Item):
    """The test of one golden."""

    def runtest(self) -> None:
        """Raise ReasonsError if the file differs from its golden, or the golden cannot be used."""
        models = self.config.getoption("nfexport_models")
        numbers_only = self.config.getoption("nfexport_numbers_only")
        try:
            result = check_one(self.path, None if models is None else Path(models), numbers_only=numbers_only)
        except NfexportError as error:
            raise ReasonsError(str(error)) from error
        if not result.passed:
            raise ReasonsError("\n".join(f"{result.file}: {change}" for change in result.changes))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the reasons alone, without a traceback."""
        if isinstance(excinfo.value, ReasonsError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the golden as the place of the test."""
        return self.path, None, f"golden {self.name}"


def check_one(golden: Path, models: Path | None, *, numbers_only: bool) -> GoldenCheck:
    """Check the file of a golden, which is in models, next to the golden, or in it.

    Raises GoldenError and OnnxFileError as nfexport.goldens.golden_check.check_golden does."""
    from nfexport.goldens.golden_check import check_golden
    from nfexport.goldens.layout import find_file
    from nfexport.goldens.manifest import read_manifest

    file = find_file(golden, read_manifest(golden).file, models)
    return check_golden(file, golden, numbers_only=numbers_only)


def pytest_report_collectionfinish(items: list[pytest.Item]) -> str:
    """Return a line with the number of goldens."""
    # pytest's own count is taken before they are added
    count = sum(isinstance(item, GoldenItem) for item in items)
    return f"and {count} goldens" if count else ""


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among the tests
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the goldens to the collected tests, wherever their folders are."""
    for given in config.getoption("nfexport_goldens"):
        path = config.invocation_params.dir / given
        name = Path(given).as_posix()
        folder = GoldenFolder.from_parent(session, name=name, path=path, nodeid=name)
        items.extend(folder.collect())

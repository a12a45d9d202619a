"""What several packages of tests share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nfexport import extensions

DIGITS = Path(__file__).parents[1] / "examples" / "digits"


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that examples/digits/train.py fills: digits.safetensors, a trained network, and images/."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, DIGITS / "train.py", folder], check=True, capture_output=True)
    return folder


Installing = Callable[..., None]


@pytest.fixture
def installing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installing]:
    """Return a function that installs a package 'toys' with entry points in a group, each by its name."""
    folder = tmp_path / "site-packages"
    about = folder / "toys-1.0.dist-info"

    def forget() -> None:
        extensions.installed.cache_clear()
        extensions.may_be_any.cache_clear()

    def install(group: str, **values: str) -> None:
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
        lines = (f"{name} = {value}\n" for name, value in values.items())
        (about / "entry_points.txt").write_text(f"[{group}]\n{''.join(lines)}")
        monkeypatch.syspath_prepend(folder)
        forget()

    yield install
    monkeypatch.undo()
    forget()

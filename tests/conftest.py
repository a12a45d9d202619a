"""What several packages of tests share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

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


@pytest.fixture
def point_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Give the client that is imported here an empty cache, and another address: much cheaper than a process."""

    def point(address: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    return point

"""Every command of the README runs: `make acceptance`, which CI calls."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(README.parent / "examples")
    return folder


def commands() -> list[str]:
    """The commands, in their order: later ones read what earlier ones write."""
    lines = "\n".join(blocks("sh")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("nfexport ")]


def test_the_readme_has_commands() -> None:
    assert "nfexport nfnet_f0 --opset 11 --fold-ws" in commands()


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_command(command: str, folder: Path) -> None:
    words = shlex.split(command)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "nfexport", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if "nfnet_f0" in words:
        assert "71,444,360" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make ([a-z-]+)", README.read_text(encoding="utf-8")))
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)

"""The example of a repository that keeps models, as its owner uses it: make, and what make says when it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nfexport.cli import run
from tests.goldens.changed import edit, scale_weight

EXAMPLE = Path(__file__).parents[1] / "examples" / "downstream"
NAMES = ("test_efficientnet", "test_nfnet")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def make(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Two jobs; exports leave verification to the target that is there for it. A make around the tests must not
    hand its own jobs and flags on."""
    nfexport = f"NFEXPORT={sys.executable} -m nfexport"
    return subprocess.run(
        ["make", "-j2", nfexport, "NFEXPORT_FLAGS=--no-verify", *args],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("downstream") / "repository"
    shutil.copytree(EXAMPLE, folder)
    return folder, make(folder)


@pytest.fixture
def repository(built: tuple[Path, object], tmp_path: Path) -> Path:
    """A copy of what was built, a minute ago."""
    copy = tmp_path / "repository"
    shutil.copytree(built[0], copy)
    for path in copy.rglob("*"):
        then = path.stat().st_mtime - 60
        os.utime(path, (then, then))
    return copy


def test_make_builds_verifies_and_checks_every_model(
    built: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = built
    assert (done.returncode, done.stderr) == (0, "")
    verbs = {"export": "onnx", "verify": "onnx", "check": "onnx"}
    assert sorted(done.stdout.splitlines()) == sorted(f"{verb} models/{n}.onnx" for verb in verbs for n in NAMES)
    made = {path.name for path in (folder / "models").iterdir() if path.is_file() and path.suffix != ".flags"}
    assert made == {f"{name}.{end}" for name in NAMES for end in ("onnx", "verified", "checked")}
    assert "passed" in (folder / "models" / "test_nfnet.verified").read_text()
    assert "passed" in (folder / "models" / "test_nfnet.checked").read_text()


@pytest.mark.slow
def test_a_second_make_does_nothing(repository: Path) -> None:
    done = make(repository)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


@pytest.mark.slow
def test_other_flags_rebuild_that_one_model_alone(repository: Path) -> None:
    (repository / "models" / "test_nfnet.flags").touch()
    done = make(repository, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["export models/test_nfnet.onnx", "check models/test_nfnet.onnx"]


@pytest.mark.slow
def test_another_golden_is_checked_without_a_rebuild(repository: Path) -> None:
    (repository / "models" / "test_nfnet.golden" / "manifest.json").touch()
    assert make(repository, "check").stdout.splitlines() == ["check models/test_nfnet.onnx"]


@pytest.mark.slow
def test_a_wrong_file_fails_at_its_own_targets_and_says_why(repository: Path) -> None:
    file = repository / "models" / "test_nfnet.onnx"
    edit(file, scale_weight(1.01))
    done = make(repository, "check")
    assert done.returncode == 2
    assert "nfexport: models/test_nfnet.onnx: numbers: 'probs' on" in done.stderr
    assert "times what is allowed" in done.stderr
    assert "models/test_nfnet.checked] Error 1" in done.stderr
    assert "efficientnet" not in done.stderr
    done = make(repository, "verify")
    assert "models/test_nfnet.verified] Error 1" in done.stderr
    assert "FAILED" in done.stderr
    left = {path.name for path in file.parent.glob("test_nfnet.*")}
    assert not {name for name in left if name.endswith(".partial")}


@pytest.mark.slow
def test_a_damaged_file_is_said_to_be_damaged_at_every_make(repository: Path) -> None:
    file = repository / "models" / "test_efficientnet.onnx"
    file.write_bytes(file.read_bytes()[:-1000])
    done = make(repository, "check")
    assert "'models/test_efficientnet.onnx' is damaged or cut off" in done.stderr
    assert "models/test_efficientnet.checked] Error 2" in done.stderr
    assert make(repository, "check").returncode == 2  # the old stamp does not pass for a new one


@pytest.mark.slow
def test_flags_that_are_wrong_leave_the_old_file(repository: Path) -> None:
    flags = repository / "models" / "test_nfnet.flags"
    flags.write_text("test_nfnet --opset 3\n")
    before = flags.with_suffix(".onnx").read_bytes()
    done = make(repository, "models")
    assert "models/test_nfnet.onnx] Error 2" in done.stderr
    assert "nfexport: opset 3" in done.stderr
    assert flags.with_suffix(".onnx").read_bytes() == before
    assert make(repository, "models").returncode == 2  # and it is tried again


@pytest.mark.slow
def test_a_model_without_a_golden_is_told_how_to_get_one(repository: Path) -> None:
    shutil.rmtree(repository / "models" / "test_nfnet.golden")
    (repository / "models" / "test_nfnet.checked").unlink()
    done = make(repository, "check")
    assert "nfexport: there is no golden 'models/test_nfnet.golden'; record one with" in done.stderr


@pytest.mark.slow
def test_without_nfexport_make_says_so(repository: Path) -> None:
    done = make(repository, "NFEXPORT=nfexport-that-is-not-there")
    assert done.returncode == 2
    assert "install nfexport" in done.stderr


def test_the_rules_are_where_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["makefile"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.is_absolute()
    assert path.name == "nfexport.mk"
    assert ".DELETE_ON_ERROR:" in path.read_text()

"""Goldens as tests of any pytest run, in processes of their own as a project that uses nfexport has them."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest

import nfexport
from nfexport.workflows.golden import record_golden
from tests.goldens.changed import edit, scale_weight

pytest_plugins = ["pytester"]

INSTALLED = bool(importlib.metadata.entry_points(group="pytest11", name="nfexport"))
PLUGIN = () if INSTALLED else ("-p", "nfexport.pytest_plugin")
"""Registered under its entry point, the module cannot be registered a second time."""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    file = folder / "small.onnx"
    nfexport.export("test_nfnet", file, opset=11, fold_ws=True, image_size=64, verify=False)
    record_golden(file, compact=True)
    return folder


@pytest.fixture
def goldens(master: Path, pytester: pytest.Pytester) -> Path:
    """Two goldens, one of them a folder deeper, their files beside them."""
    for place in ("models", "models/deeper"):
        shutil.copytree(master, pytester.path / place, dirs_exist_ok=True)
    return pytester.path / "models"


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider", *args)


def test_every_golden_below_the_folder_is_a_test(goldens: Path, pytester: pytest.Pytester) -> None:
    result = run(pytester, "--nfexport-goldens", "models", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["and 2 goldens"])
    result.stdout.fnmatch_lines(["*models::deeper/small.golden*PASSED*", "*models::small.golden*PASSED*"])


def test_they_stand_beside_other_tests_and_are_chosen_by_k(goldens: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass")
    run(pytester, "--nfexport-goldens", "models").assert_outcomes(passed=3)
    run(pytester, "--nfexport-goldens", "models", "-k", "deeper").assert_outcomes(passed=1, deselected=2)
    run(pytester).assert_outcomes(passed=1)


def test_a_file_that_changed_fails_with_one_line_for_each_reason(goldens: Path, pytester: pytest.Pytester) -> None:
    edit(goldens / "small.onnx", scale_weight(1.01))
    result = run(pytester, "--nfexport-goldens", "models")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*models/small.onnx: weights: 1 of 72 changed: *", "*models/small.onnx: numbers: *times what is allowed*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    edit(goldens / "small.onnx", scale_weight(1 / 1.01))
    run(pytester, "--nfexport-goldens", "models", "--nfexport-numbers-only").assert_outcomes(passed=2)


def test_files_may_lie_elsewhere_and_what_is_not_there_is_said(goldens: Path, pytester: pytest.Pytester) -> None:
    shutil.rmtree(goldens / "deeper")
    (pytester.path / "build").mkdir()
    (goldens / "small.onnx").rename(pytester.path / "build" / "small.onnx")
    run(pytester, "--nfexport-goldens", "models", "--nfexport-models", "build").assert_outcomes(passed=1)
    result = run(pytester, "--nfexport-goldens", "models")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*neither *small.onnx* exists to check against the golden; build the file first*"])


def test_a_folder_that_is_not_there_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--nfexport-goldens", "nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the folder of goldens '*nowhere' does not exist; check the path"])


def test_a_folder_without_goldens_is_said(pytester: pytest.Pytester) -> None:
    (pytester.path / "empty").mkdir()
    result = run(pytester, "--nfexport-goldens", "empty")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: there is no golden below '*empty'; *"])


def test_the_plugin_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_light():\n"
        "    assert 'nfexport.pytest_plugin' in sys.modules\n"
        "    assert not {'numpy', 'onnx', 'onnxruntime', 'torch', 'click'} & set(sys.modules)\n"
    )
    run(pytester).assert_outcomes(passed=1)

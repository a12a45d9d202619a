"""One exported file and its golden; each test works on a copy of the two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import nfexport
from nfexport.workflows.golden import record_golden


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("goldens")
    file = folder / "small.onnx"
    nfexport.export("test_nfnet", file, opset=11, fold_ws=True, image_size=64, verify=False)
    record_golden(file, with_model=True)
    return folder


@pytest.fixture
def small(master: Path, tmp_path: Path) -> Path:
    """The file; its golden is beside it."""
    shutil.copytree(master, tmp_path / "work")
    return tmp_path / "work" / "small.onnx"


@pytest.fixture(scope="session")
def compact_master(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compact")
    shutil.copy(master / "small.onnx", folder)
    record_golden(folder / "small.onnx", compact=True)
    return folder


@pytest.fixture
def compact(compact_master: Path, tmp_path: Path) -> Path:
    """The file, with a golden without inputs."""
    shutil.copytree(compact_master, tmp_path / "compact")
    return tmp_path / "compact" / "small.onnx"

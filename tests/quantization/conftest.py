"""One float file, and its int8 form, for all tests of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nfexport

NETWORK: dict[str, Any] = {"image_size": 32, "fold_ws": True, "opset": 13, "num_classes": 20}


@pytest.fixture(scope="package")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test_nfnet with seeded weights, folded."""
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    nfexport.export("test_nfnet", path, verify=False, **NETWORK)
    return path


@pytest.fixture(scope="package")
def quantised(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> nfexport.QuantizeResult:
    """Its int8 form."""
    return nfexport.quantize(plain, tmp_path_factory.mktemp("int8") / "int8.onnx", calibrate=9, keep_worst=1)

"""What several packages of tests share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[1] / "examples" / "digits"


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that examples/digits/train.py fills: digits.safetensors, a trained network, and images/."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, DIGITS / "train.py", folder], check=True, capture_output=True)
    return folder

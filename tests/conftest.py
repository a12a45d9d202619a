"""What several packages of tests share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = Path(__file__).parents[1] / "examples" / "digits" / "train.py"


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that examples/digits/train.py writes: digits.safetensors, and pictures/<digit>/<n>.png. Trained
    once, in 20 to 45 s: tests that ask for it are marked slow."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, str(TRAIN), str(folder)], check=True, capture_output=True)
    return folder

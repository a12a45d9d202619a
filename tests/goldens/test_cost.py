"""What a check costs, next to what ONNX Runtime alone needs for the same file."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import nfexport
from nfexport.workflows.golden import record_golden

PLAIN = """
import sys
import numpy as np
import onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
session.run(None, {entry.name: np.zeros([1, *entry.shape[1:]], np.float32)})
"""


def seconds(*args: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, capture_output=True)
    return time.perf_counter() - started


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), [("test_nfnet", 96), ("nfnet_f0", None)])
def test_a_check_takes_less_than_three_times_what_the_runtime_alone_takes(
    model: str, size: int | None, tmp_path: Path
) -> None:
    file = tmp_path / "m.onnx"
    nfexport.export(model, file, opset=11, fold_ws=True, image_size=size, verify=False)
    record_golden(file, compact=model == "nfnet_f0")
    # the least of several: what else runs on the machine only adds
    plain = min(seconds("-c", PLAIN, str(file)) for _ in range(5))
    checked = min(seconds("-m", "nfexport", "golden", "check", str(file)) for _ in range(5))
    assert checked < 3 * plain

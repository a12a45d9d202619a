"""Surgery on files whose weights are where older tools put them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from nfexport.workflows.surgery import surgery
from tests.passes.graphs import Array
from tests.passes.test_constants_of_other_tools import X, expected, network


def answer(path: Path, x: Array) -> Array:
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"fold_bn": True}, 1),
        ({"fold_bn": True, "opset": 17}, 1),
        ({"optimize": True}, 1),
        ({"fold_ws": True}, 1),
        ({"strip": True}, 1),
        ({"precision": "fp16-weights"}, 1),
        ({"normalize": "nodes", "mean": (0.0, 0.0, 0.0), "std": (0.5, 0.5, 0.5)}, 2),
        ({"normalize": "fold", "mean": (0.0, 0.0, 0.0), "std": (0.5, 0.5, 0.5)}, 2),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize(
    "form",
    [{"inputs": True, "ir_version": 3, "opset": 8}, {"inputs": True}, {"constants": True}],
    ids=["ir 3", "inputs", "constants"],
)
def test_surgery_takes_weights_wherever_they_are(
    tmp_path: Path, form: dict[str, Any], options: dict[str, Any], factor: float
) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    ir.save(network(**form), source)
    report = surgery(source, target, **options).verification
    assert report is not None
    assert report.passed
    bound = 0.02 if "precision" in options else 1e-4  # weights of float16 have 11 bits
    np.testing.assert_allclose(answer(target, X), expected(X * factor), rtol=bound, atol=bound)

"""Real networks: the evaluator against ONNX Runtime in float32, and against PyTorch in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import nfexport
from nfexport.interpreter import GraphModule
from nfexport.verification.torch_reference import evaluate

NETWORKS = [
    ("test_nfnet", 11),  # with BatchNormalization in its training form, which standardises the weights
    ("test_vit", 17),
    *(
        pytest.param(*rest, marks=pytest.mark.slow)
        for rest in (("test_resnet", 11), ("test_nfnet", 17), ("test_convnext", 17))
    ),
]


@pytest.mark.parametrize(("name", "opset"), NETWORKS)
def test_it_agrees_with_onnx_runtime_within_float32(name: str, opset: int, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    nfexport.export(name, path, opset=opset, exporter="torchscript", verify=False)
    module = GraphModule.from_file(path)
    session = onnxruntime.InferenceSession(path)
    shape = [size if isinstance(size, int) else 2 for size in session.get_inputs()[0].shape]
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (actual,) = session.run(None, {module.input_names[0]: images})
    reference = evaluate(module, images, module.output_names)
    expected = reference.expected[module.output_names[0]]
    yardstick = max(float(np.abs(run - expected).max()) for run in reference.float32[module.output_names[0]])
    assert expected.dtype == np.float64
    assert 0 < yardstick < 1e-5 * np.abs(expected).max()
    # the verifier's own rule: five times what float32 costs PyTorch
    assert np.abs(actual - expected).max() <= 5 * yardstick

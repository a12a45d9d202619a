"""Every fault gives a file that ONNX's checker takes, and leaves the original alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import nfexport
from nfexport.verification.faults import all_faults, inject


@pytest.mark.parametrize(
    ("name", "options", "kinds"),
    [
        ("test_nfnet", {"opset": 11, "fold_ws": True}, 20),
        ("test_nfnet", {"opset": 17}, 15),
        ("test_vit", {"opset": 13}, 15),
        pytest.param("test_convnext", {"opset": 18}, 15, marks=pytest.mark.slow),
    ],
)
def test_faults_are_valid_files(name: str, options: dict[str, Any], kinds: int, tmp_path: Path) -> None:
    nfexport.export(name, tmp_path / "m.onnx", verify=False, **options)
    model = onnx.load(tmp_path / "m.onnx")
    before = model.SerializeToString(deterministic=True)
    nodes = {node.name for node in model.graph.node}
    faults = list(all_faults(model))
    assert len({fault.kind for fault in faults}) >= kinds
    assert all(fault.node in nodes for fault in faults)
    for fault in faults[:: max(1, len(faults) // 40)]:
        mutant = inject(model, fault)
        onnx.checker.check_model(mutant)
        assert mutant.SerializeToString(deterministic=True) != before, fault.kind
    assert model.SerializeToString(deterministic=True) == before

"""The network that examples/digits trains on real images names the same digits in every form of its file."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import nfexport
from tests.conftest import DIGITS

FORMS = 11


@pytest.mark.slow
def test_every_form_names_the_same_digits(digits: Path) -> None:
    done = subprocess.run([sys.executable, DIGITS / "prove.py", digits], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    _, *lines = done.stdout.splitlines()
    assert len(lines) == FORMS
    assert all(" 100.00% " in line for line in lines)
    accuracies = [set(re.findall(r"(\d+\.\d\d)%", line)[:-1]) for line in lines if "IR" not in line]
    # one accuracy in PyTorch, ONNX Runtime and OpenVINO, and in every form; chance would be 10 %
    (accuracy,) = set.union(*accuracies)
    assert float(accuracy) > 97


@pytest.mark.slow
def test_a_form_that_disagrees_is_told_by_the_exit_code(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("prove", DIGITS / "prove.py")
    assert spec is not None
    assert spec.loader is not None
    prove = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prove)
    export = nfexport.export

    def weaker_three(model: str, target: Path, **options: Any) -> None:
        proto = onnx.load(export(model, target, **options).path)
        (weight,) = (tensor for tensor in proto.graph.initializer if tensor.name == "head.fc.weight")
        values = onnx.numpy_helper.to_array(weight).copy()
        values[3] *= 0.2
        weight.raw_data = values.tobytes()
        onnx.save(proto, target)

    monkeypatch.setattr(prove, "EXPORTS", {"folded": {}})
    monkeypatch.setattr(prove, "compare_ir", lambda folder, precision: (1, 0.0, 1))
    monkeypatch.setattr(nfexport, "export", weaker_three)
    assert prove.main(digits) == 1
    assert "100.00%   " not in capsys.readouterr().out.splitlines()[1]

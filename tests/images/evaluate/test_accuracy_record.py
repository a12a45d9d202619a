"""The accuracy gets into the file, and nothing else in the file changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nfexport
from nfexport.images.evaluate.accuracy_record import record_accuracy
from nfexport.recipe.about import EVALUATION_KEY, Accuracy


def test_an_entry_is_added_and_later_replaced(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(model.read_bytes())
    file.chmod(0o640)
    before = nfexport.inspect(file)
    for top1 in (50.0, 51.25):
        accuracy = Accuracy(top1=top1, top5=90.0, dataset="val", images=60, source="nfexport evaluate")
        record_accuracy(file, accuracy)
        after = nfexport.inspect(file)
        assert after.evaluation == accuracy
        assert after.recipe is not None
        assert before.recipe is not None
        assert after.recipe.digest == before.recipe.digest
    proto, original = onnx.load(file), onnx.load(model)
    assert [entry.key for entry in proto.metadata_props].count(EVALUATION_KEY) == 1
    entries = [entry for entry in proto.metadata_props if entry.key != EVALUATION_KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(entries)
    assert proto.SerializeToString(deterministic=True) == original.SerializeToString(deterministic=True)
    onnx.checker.check_model(file)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_the_weights_stay_on_the_disk(tmp_path: Path) -> None:
    """80 MB of weights: recording may take 30 MB, for its buffers; a copy in memory would take 80 or 160."""
    weight = numpy_helper.from_array(np.zeros(20_000_000, np.float32), "w")
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [20_000_000])]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", inputs, outputs, [weight])
    file = tmp_path / "large.onnx"
    onnx.save(helper.make_model(graph, ir_version=8), file)
    size = file.stat().st_size
    code = (
        "from nfexport.images.evaluate import accuracy_record\n"
        "from pathlib import Path\n"
        "from nfexport.recipe.about import Accuracy\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        f"accuracy_record.record_accuracy(Path({os.fspath(file)!r}), Accuracy(top1=1.0))\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30 * 1024
    assert size < file.stat().st_size < size + 300
    assert nfexport.inspect(file).evaluation == Accuracy(top1=1.0)

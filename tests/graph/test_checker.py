"""onnx's checker sees the graph of a file, whose weights it is spared."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nfexport.graph import model_writer
from nfexport.graph.checker import refusal
from tests.passes.graphs import normal, parse


def written(path: Path, graph: str, *, external_data: bool) -> Path:
    model_writer.write_model(parse(graph, weights={"w": normal(64, 64)}), path, external_data=external_data)
    return path


@pytest.mark.parametrize("external_data", [True, False])
def test_a_right_file_passes_and_a_wrong_shape_does_not(tmp_path: Path, external_data: bool) -> None:
    right = written(
        tmp_path / "a.onnx", "g (float[N,64] x) => (float[N,64] y) { y = MatMul (x, w) }", external_data=external_data
    )
    assert refusal(right) is None
    wrong = written(
        tmp_path / "b.onnx", "g (float[N,65] x) => (float[N,64] y) { y = MatMul (x, w) }", external_data=external_data
    )
    reason = refusal(wrong)
    assert reason is not None
    assert "MatMul" in reason
    assert "side" not in reason
    assert not [path for path in tmp_path.iterdir() if "side" in path.name]


def test_small_constants_are_seen(tmp_path: Path) -> None:
    """The target of a Reshape has to be read for its shape to be known."""
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[2,6] x) => (float[2,4] y) <int64[2] target = {2, 3}> { y = Reshape (x, target) }"""
    )
    for tensor in graph.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(graph, tmp_path / "a.onnx")
    assert refusal(tmp_path / "a.onnx") is not None

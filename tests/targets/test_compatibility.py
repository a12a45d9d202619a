"""A whole file: operators, opsets, element types, subgraphs, functions, and what the real runtimes say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nfexport.errors import InputError, OnnxFileError
from nfexport.targets import check, targets
from tests.targets.files import findings, graph, lone, write


def test_an_operator_that_a_target_does_not_have_is_named_with_its_node(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", graph("a = Relu (x) y = Det (a)"))
    model = onnx.load(path)
    model.graph.node[1].name = "/head/det"
    onnx.save(model, path)
    found = lone(path, "tensorrt")
    assert (found.node, found.operator, found.problem) == ("/head/det", "Det", "TensorRT does not support it")
    assert found.fix.endswith(f"'nfexport surgery {path} -o OUT.onnx --extract-outputs a'")
    assert findings(path, "onnxruntime") == []


def test_a_node_without_a_name_goes_by_its_operator_and_output(tmp_path: Path) -> None:
    assert lone(write(tmp_path / "m.onnx", graph("y = Det (x)")), "migraphx").node == "Det → y"


@pytest.mark.parametrize(
    ("target", "opset", "problem", "flag"),
    [
        ("migraphx", 20, "opset 20 is newer than 19, the newest that MIGraphX ROCm 7.2 supports", "--opset 19"),
        ("tensorrt", 21, "opset 21 is newer than 20, the newest that TensorRT 10.1 to 10.15 supports", "--opset 20"),
        ("tensorrt", 8, "opset 8 is older than 9, the oldest that TensorRT 10.1 to 10.15 supports", "--opset 9"),
        ("openvino", 24, "opset 24 is newer than 23, the newest that its table covers", "--opset 23"),
    ],
)
def test_opsets(tmp_path: Path, target: str, opset: int, problem: str, flag: str) -> None:
    path = write(tmp_path / "m.onnx", graph("y = Relu (x)"), opset=opset)
    found = lone(path, target)
    assert (found.node, found.problem) == (None, problem)
    assert found.fix == f"run 'nfexport surgery {path} -o OUT.onnx {flag}'"
    assert found.effect == ("caution" if target == "openvino" else "refused")


def test_an_operator_that_ends_at_an_opset(tmp_path: Path) -> None:
    body = "g (float[3,3] x, int64[1,3] i, float[1,3] u) => (float[3,3] y) { y = Scatter (x, i, u) }"
    assert findings(write(tmp_path / "a.onnx", body, opset=10), "onnxruntime") == []
    found = lone(write(tmp_path / "b.onnx", body, opset=11), "onnxruntime")
    assert found.problem == "ONNX Runtime supports it up to opset 10, and the file has opset 11"


def test_an_ir_version_and_the_command_that_lowers_it(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", graph("y = Relu (x)"))
    model = onnx.load(path)
    model.ir_version = 14
    onnx.save(model, path)
    found = lone(path, "onnxruntime")
    assert found.problem == "IR version 14 is newer than 13, the newest that ONNX Runtime 1.31 supports"
    assert "--opset 17 --no-verify" in found.fix


def test_an_element_type(tmp_path: Path) -> None:
    body = "g (bfloat16[2] x, bfloat16[2] z) => (bfloat16[2] y) { y = Add (x, z) }"
    path = write(tmp_path / "m.onnx", body)
    assert lone(path, "migraphx").problem == (
        "the tensor 'x' is bfloat16, an element type that MIGraphX does not support"
    )
    assert findings(path, "tensorrt") == []


def test_an_open_size_is_a_caution_and_passes(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", "g (float[batch,3] x) => (float[batch,3] y) { y = Relu (x) }")
    result = check(path, ["migraphx", "tensorrt"], attempt=False)
    assert result.passed
    assert [found.effect for found in result.findings] == ["caution", "caution"]
    assert all("the input 'x' has the symbolic size batch" in found.problem for found in result.findings)
    assert all("--batch 1" in found.fix for found in result.findings)


def test_custom_domains_but_those_that_are_named(tmp_path: Path) -> None:
    body = graph("a = com.microsoft.Gelu (x) y = my.Thing (a)")
    path = write(tmp_path / "m.onnx", body, domains=', "com.microsoft" : 1, "my" : 1')
    assert [found.operator for found in findings(path, "onnxruntime")] == ["my::Thing"]
    assert [found.operator for found in findings(path, "tensorrt")] == ["com.microsoft::Gelu", "my::Thing"]
    assert lone(path, "openvino").problem == "OpenVINO supports no operators of the domain my"


def test_subgraphs_count_and_see_the_constants_around_them(tmp_path: Path) -> None:
    body = """g (float[1,3,8,8] x, bool c) => (float[1,3,H,W] y) {
        y = If (c) <
            then_branch = a () => (float[1,3,H,W] t) { t = Pad (x, pads) },
            else_branch = b () => (float[1,3,H,W] e) { e = Det (x) } >
    }"""
    found = lone(write(tmp_path / "m.onnx", body, weights={"pads": np.zeros(8, np.int64)}), "migraphx")
    assert (found.node, found.operator) == ("Det → e", "Det")


def test_a_local_function_counts_as_its_body(tmp_path: Path) -> None:
    body = (
        graph("y = own.block (x)")
        + '\n<domain: "own", opset_import: ["" : 17]> block (x) => (y) { a = Det (x) y = Relu (a) }'
    )
    path = write(tmp_path / "m.onnx", body, domains=', "own" : 1')
    assert lone(path, "tensorrt").node == "Det → a in the function block"
    assert findings(path, "onnxruntime") == []


def test_weights_outside_the_file_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", graph("y = Add (x, w)"), weights={"w": np.ones((1, 3, 8, 8), np.float32)})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    result = check(path)
    assert result.passed
    (tmp_path / "w.bin").unlink()
    with pytest.raises(OnnxFileError, match=r"keeps weights in 'w\.bin', which is not next to it"):
        check(path)


def test_the_installed_runtimes_load_the_file_and_their_refusal_is_a_finding(tmp_path: Path) -> None:
    """Shapes that do not fit are in no table."""
    path = write(tmp_path / "m.onnx", graph("y = Conv (x, w)"), weights={"w": np.ones((4, 3), np.float32)})
    names = ["onnxruntime", "openvino"]
    assert check(path, names, attempt=False).passed
    result = check(path, names)
    assert [found.target for found in result.findings] == names
    assert all(" refuses " in found.problem and "\n" not in found.problem for found in result.findings)
    assert not result.passed


def test_a_runtime_that_is_not_here_is_no_finding(tmp_path: Path) -> None:
    (target,) = check(write(tmp_path / "m.onnx", graph("y = Relu (x)")), ["migraphx"]).targets
    assert target.passed
    assert target.tried is None
    assert "'migraphx' cannot be imported" in str(target.not_tried)


def test_all_targets_unless_some_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", graph("y = Relu (x)"))
    assert [entry.target for entry in check(path, attempt=False).targets] == list(targets())
    assert [entry.target for entry in check(path, ["tensorrt"] * 2, attempt=False).targets] == ["tensorrt"]
    with pytest.raises(InputError, match="there is no target 'tract'; use one of migraphx, onnxruntime, openvino, "):
        check(path, ["tract"])


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(OnnxFileError, match="does not exist"):
        check(tmp_path / "gone.onnx")

"""ONNX Runtime: what a session tells, and why a file is refused, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from nfexport.errors import OnnxFileError
from nfexport.runtimes import onnxruntime as adapter
from nfexport.runtimes import open_session
from tests.verification.toy import CLASSES, SIZE, to_onnx, toy, weights


def one_node(operator: str, *, opset: int = 17, ir_version: int = 8) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    return bytes(model.SerializeToString())


def test_a_session_tells_its_interface_and_runs() -> None:
    session = open_session(to_onnx(weights(toy())))
    assert (session.runtime, session.version) == ("onnxruntime", onnxruntime.__version__)
    assert session.inputs == {"image": ("batch", 3, *SIZE)}
    assert session.outputs == ("logits",)
    result = session.run({"image": np.zeros((2, 3, *SIZE), np.float32)})
    assert result["logits"].shape == (2, CLASSES)


def test_a_file_is_opened_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    path.write_bytes(to_onnx(weights(toy())))
    assert open_session(path).outputs == open_session(str(path)).outputs == ("logits",)


def test_onnx_runtime_keeps_its_default_optimisation_level(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = onnxruntime.InferenceSession

    def spy(model: bytes, options: Any, **keywords: Any) -> Any:
        seen.append((options.graph_optimization_level, keywords))
        return original(model, options, **keywords)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    open_session(one_node("Relu"))
    default = onnxruntime.SessionOptions().graph_optimization_level
    assert seen == [(default, {"providers": ["CPUExecutionProvider"]})]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"no protobuf", "protobuf parsing failed"),
        (one_node("Nonsense"), "No Op registered for Nonsense with domain_version of 17"),
        (one_node("Relu", ir_version=99), "Unsupported model IR version: 99"),
        (to_onnx({**weights(toy()), "conv.weight": np.zeros((8, 3), np.float32)}), "/conv/Conv"),
    ],
)
def test_a_refusal_gives_the_runtimes_reason_in_one_line(
    model: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OnnxFileError) as caught:
        open_session(model)
    message = str(caught.value)
    assert message.startswith(f"ONNX Runtime {onnxruntime.__version__} refuses the exported model: ")
    assert reason in message
    assert "\n" not in message
    assert ".cc:" not in message
    assert "[ONNXRuntimeError]" not in message
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OnnxFileError, match=r"refuses .*gone\.onnx: .*doesn't exist"):
        open_session(tmp_path / "gone.onnx")


def test_a_run_that_stops_gives_its_reason_in_one_line() -> None:
    session = open_session(to_onnx(weights(toy())))
    with pytest.raises(RuntimeError, match=r"^Got invalid dimensions for input: image") as caught:
        session.run({"image": np.zeros((1, 3, 5, 5), np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is\n  wrong.", "This is wrong"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : /a/b/model.cc:180 ns::Model::Model(const A<b, c>&, bool) Too new",
            "Too new",
        ),
        ("Status: /a/b.h:91 ns::f(int) const x == y was false", "Status: x == y was false"),
        ("nothing to remove", "nothing to remove"),
    ],
)
def test_messages_lose_codes_and_signatures(raw: str, cleaned: str) -> None:
    assert adapter.reason(RuntimeError(raw)) == cleaned

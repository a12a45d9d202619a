"""One suite on every runtime: the same files agree, the same faults show, and refusals say why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from _pytest.mark import ParameterSet
from numpy.typing import NDArray

from nfexport.errors import InputError, MissingPackage, OnnxFileError
from nfexport.runtimes import load, open_session
from nfexport.runtimes.openvino import OpenVinoSession
from nfexport.verification import ImageModelUnderTest, VerificationReport, verify_session_against
from tests.runtimes.test_onnxruntime import one_node
from tests.verification.toy import CLASSES, INTERFACE, SIZE, to_onnx, toy, weights


def missing(runtime: str) -> bool:
    try:
        load(runtime)
    except MissingPackage:
        return True
    return False


def each(*, without: tuple[str, ...] = ()) -> list[ParameterSet]:
    return [
        pytest.param(name, marks=pytest.mark.skipif(missing(name), reason=f"{name} is not installed"))
        for name in ("onnxruntime", "openvino", "opencv", "reference")
        if name not in without
    ]


def verify(model: bytes, runtime: str) -> VerificationReport:
    return verify_session_against(toy(), model, ImageModelUnderTest(**INTERFACE, batch="dynamic"), runtime=runtime)


@pytest.mark.parametrize("runtime", each())
def test_it_tells_the_interface_and_runs_any_batch(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    path.write_bytes(to_onnx(weights(toy())))
    for model in (path.read_bytes(), path, str(path)):
        session = open_session(model, runtime=runtime)
        assert session.runtime == runtime
        assert session.version
        assert session.outputs == ("logits",)
        assert list(session.inputs) == ["image"]
        batch, *rest = session.inputs["image"]
        assert isinstance(batch, str)
        assert rest == [3, *SIZE]
        first = session.run({"image": np.zeros((2, 3, *SIZE), np.float32)})["logits"]
        second = session.run({"image": np.ones((1, 3, *SIZE), np.float32)})["logits"]
        assert (first.shape, second.shape) == ((2, CLASSES), (1, CLASSES))
        assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("runtime", each())
def test_a_faithful_file_passes_and_one_that_is_0_3_percent_off_does_not(runtime: str) -> None:
    report = verify(to_onnx(weights(toy())), runtime)
    assert report.passed, report.summary()
    assert report.runtime == runtime
    arrays = weights(toy())
    arrays["conv.weight"] = arrays["conv.weight"] * np.float32(1.003)
    report = verify(to_onnx(arrays), runtime)
    assert not report.passed
    assert report.worst.comparison.severity > 10


@pytest.mark.parametrize("runtime", each())
def test_nan_fails_everywhere(runtime: str) -> None:
    arrays = weights(toy())
    arrays["head.bias"][7] = np.nan
    report = verify(to_onnx(arrays), runtime)
    assert not report.passed
    assert "values are not finite" in report.summary()


@pytest.mark.parametrize("runtime", each())
def test_several_outputs_come_by_name(runtime: str) -> None:
    model = onnx.load_from_string(to_onnx(weights(toy())))
    model.graph.output.append(onnx.helper.make_tensor_value_info("b", 1, ["batch", 8, *SIZE]))
    session = open_session(model.SerializeToString(), runtime=runtime)
    assert session.outputs == ("logits", "b")
    result = session.run({"image": np.zeros((2, 3, *SIZE), np.float32)})
    assert {name: array.shape for name, array in result.items()} == {"logits": (2, CLASSES), "b": (2, 8, *SIZE)}


@pytest.mark.parametrize("runtime", each())
@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 3, 5, 5), np.float32),
        np.zeros((1, 4, *SIZE), np.float32),
        np.zeros((1, 3, *SIZE), np.float64),
    ],
    ids=["another size", "another number of channels", "another element type"],
)
def test_an_array_that_the_file_does_not_take_stops_it(runtime: str, array: NDArray[Any]) -> None:
    """OpenCV would run all three, and OpenVINO the last."""
    session = open_session(to_onnx(weights(toy())), runtime=runtime)
    with pytest.raises(RuntimeError) as caught:
        session.run({"image": array})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", each())
def test_a_file_for_one_batch_size_stops_at_another_with_a_reason(runtime: str) -> None:
    report = verify(to_onnx(weights(toy()), rows=3), runtime)
    assert {case.batch: case.comparison.passed for case in report.cases} == {3: True, 1: False, 2: False, 6: False}
    assert f"{runtime} stopped: " in report.summary()


REFUSED = {
    "no protobuf": b"no protobuf",
    "empty": b"",
    "unknown operator": one_node("Nonsense"),
}


@pytest.mark.parametrize("runtime", each())
@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_one_line_with_the_runtimes_own_reason(
    runtime: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OnnxFileError, match=" refuses the exported model: ") as caught:
        open_session(REFUSED[what], runtime=runtime)
    message = str(caught.value)
    for noise in ("\n", ".cpp:", ".cc:", "-- "):
        assert noise not in message.replace("-- No conversion", "No conversion")
    if what == "unknown operator" and runtime != "opencv":  # which looks at the input first
        assert "Nonsense" in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("runtime", each(without=("opencv", "reference")))
def test_a_refusal_names_the_node(runtime: str) -> None:
    model = to_onnx({**weights(toy()), "conv.weight": np.zeros((8, 3), np.float32)})
    with pytest.raises(OnnxFileError, match="/conv/Conv"):
        open_session(model, runtime=runtime)


@pytest.mark.parametrize("runtime", each())
def test_a_missing_file_is_named(runtime: str, tmp_path: Path) -> None:
    with pytest.raises(OnnxFileError, match=r"refuses .*gone\.onnx: "):
        open_session(tmp_path / "gone.onnx", runtime=runtime)


@pytest.mark.skipif(missing("opencv"), reason="opencv-python-headless is not installed")
def test_opencv_refuses_what_is_not_an_image() -> None:
    with pytest.raises(OnnxFileError, match=r"one float32 \[batch, channels, height, width\], and 'x' is "):
        open_session(one_node("Relu"), runtime="opencv")


@pytest.mark.skipif(missing("opencv"), reason="opencv-python-headless is not installed")
def test_opencv_4_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one engine ends the process on files that compute their weights."""
    import cv2

    monkeypatch.delattr(cv2.dnn, "ENGINE_NEW")
    with pytest.raises(MissingPackage, match=r"OpenCV .* is older than 5\); pip install 'nfexport\[opencv\]'"):
        open_session(b"", runtime="opencv")


@pytest.mark.skipif(missing("openvino"), reason="openvino is not installed")
def test_openvino_is_asked_for_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hints a processor with bfloat16 units computes in bfloat16: 3,500 times what is allowed for
    test_nfnet. The property is read back, since most processors have none and would pass without."""
    import openvino as ov
    from openvino import properties

    session = open_session(to_onnx(weights(toy())), runtime="openvino")
    assert isinstance(session, OpenVinoSession)
    assert session._compiled.get_property(properties.hint.inference_precision) == ov.Type.f32
    mode = session._compiled.get_property(properties.hint.execution_mode)
    assert mode == properties.hint.ExecutionMode.ACCURACY


@pytest.mark.parametrize(("runtime", "module"), [("openvino", "openvino"), ("opencv", "cv2")])
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    runtime: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=rf"'{runtime}' cannot be .*; pip install 'nfexport\[{runtime}\]'"):
        open_session(b"", runtime=runtime)


def test_a_provider_goes_by_its_short_name() -> None:
    for name in ("cpu", "CPU", "CPUExecutionProvider"):
        session = open_session(to_onnx(weights(toy())), providers=[name])
        assert session.providers == ("CPUExecutionProvider",)


def test_a_provider_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"no execution provider 'abacus' here; use one of .*CPUExecutionProvider"):
        open_session(to_onnx(weights(toy())), providers=["abacus"])


def test_a_provider_that_onnx_runtime_drops_is_no_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime goes on without CUDA where CUDA's libraries are missing, and warns on stderr at most."""
    import onnxruntime

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    original, seen = onnxruntime.InferenceSession, []

    def without_cuda(model: bytes, options: Any, providers: Any) -> Any:
        seen.append(providers)
        return original(model, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_cuda)
    with pytest.raises(InputError, match="not start CUDAExecutionProvider and went on with CPUExecutionProvider"):
        open_session(to_onnx(weights(toy())), providers=["cuda", "cpu"])
    assert seen == [[("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]]

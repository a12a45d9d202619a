"""The adapter's own logic: shapes, types and names, against a stand-in for the module.

MIGraphX needs an AMD GPU or a ROCm installation, so nothing here says what it computes: the stand-in has the
signatures of MIGraphX's Python API reference and runs the file in ONNX Runtime."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from nfexport.errors import MissingPackage, OnnxFileError
from nfexport.runtimes import open_session
from tests.verification.toy import CLASSES, SIZE, to_onnx, toy, weights


class Program:
    """Fixed sizes, and to be compiled before it runs, as a program of MIGraphX is."""

    def __init__(self, model: bytes, map_input_dims: dict[str, list[int]]) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.sizes = map_input_dims
        self.compiled: dict[str, Any] = {}

    def compile(
        self, t: str, offload_copy: bool = True, fast_math: bool = True, exhaustive_tune: bool = False
    ) -> None:
        self.compiled = {"target": t, "offload_copy": offload_copy, "fast_math": fast_math}

    def run(self, params: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert self.compiled == {"target": "ref", "offload_copy": True, "fast_math": False}
        assert {name: list(array.shape) for name, array in params.items()} == self.sizes
        assert all(array.flags["C_CONTIGUOUS"] for array in params.values())
        return list(self._session.run(None, params))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """Put the stand-in in place; there is no GPU, so its target 'gpu' is not available."""
    made: list[Program] = []
    module = types.ModuleType("migraphx")

    def parse_onnx_buffer(data: bytes, map_input_dims: dict[str, list[int]]) -> Program:
        if b"Nonsense" in data:
            raise RuntimeError("parse_graph: Unknown operator:\n Nonsense")
        made.append(Program(data, map_input_dims))
        return made[-1]

    def get_target(name: str) -> str:
        if name != "ref":
            raise RuntimeError("no device")
        return name

    vars(module).update(
        __version__="2.15",
        parse_onnx_buffer=parse_onnx_buffer,
        parse_onnx=lambda filename, map_input_dims: parse_onnx_buffer(Path(filename).read_bytes(), map_input_dims),
        get_target=get_target,
        argument=lambda data: data,
    )
    monkeypatch.setitem(sys.modules, "migraphx", module)
    return made


def test_a_program_is_compiled_for_each_size_once(programs: list[Program], tmp_path: Path) -> None:
    path = tmp_path / "toy.onnx"
    path.write_bytes(to_onnx(weights(toy())))
    for model in (path, path.read_bytes()):
        programs.clear()
        session = open_session(model, runtime="migraphx")
        assert (session.runtime, session.version, session.providers) == ("migraphx", "2.15", ("ref",))
        assert (list(session.inputs), session.outputs) == (["image"], ("logits",))
        for rows in (1, 2, 2):
            image = np.asfortranarray(np.zeros((rows, 3, *SIZE), np.float32))
            assert session.run({"image": image})["logits"].shape == (rows, CLASSES)
        assert [program.sizes["image"] for program in programs] == [[1, 3, *SIZE], [2, 3, *SIZE]]


def test_what_the_file_does_not_take_stops_it(programs: list[Program]) -> None:
    session = open_session(to_onnx(weights(toy())), runtime="migraphx")
    with pytest.raises(RuntimeError, match="the input 'image' is float32, it is fed float64"):
        session.run({"image": np.zeros((1, 3, *SIZE), np.float64)})


def test_a_refusal_is_one_line(programs: list[Program]) -> None:
    model = onnx.load_from_string(to_onnx(weights(toy())))
    model.graph.node[0].op_type = "Nonsense"
    with pytest.raises(OnnxFileError, match=r"^MIGraphX 2\.15 refuses the exported model: parse_graph: .* Nonsense;"):
        open_session(model.SerializeToString(), runtime="migraphx")


def test_onnx_runtimes_provider_serves_where_there_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = "MIGraphXExecutionProvider"
    original = onnxruntime.InferenceSession

    class Session(original):  # type: ignore[misc, valid-type]
        def __init__(self, model: bytes, options: Any, providers: list[str]) -> None:
            super().__init__(model, options, providers=["CPUExecutionProvider"])
            self.asked = providers

        def get_providers(self) -> list[str]:
            return self.asked

    monkeypatch.setitem(sys.modules, "migraphx", None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [provider, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    session = open_session(to_onnx(weights(toy())), runtime="migraphx")
    assert (session.runtime, session.providers) == ("migraphx", (provider,))


def test_without_either_it_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "migraphx", None)
    with pytest.raises(
        MissingPackage, match=r"'migraphx' cannot be imported .*; install ROCm with MIGraphX, which is on"
    ):
        open_session(b"", runtime="migraphx")

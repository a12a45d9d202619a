"""ONNX Runtime on the CPU, at its default optimisation level: what users of a file run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.verification.runtimes import Model, Session, source_of

FATAL = 4
"""ONNX Runtime's severity above 'error': what goes wrong arrives as an exception, once."""

CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
POSITION = re.compile(r"\S+\.(?:cc|h):\d+ [^()]*\([^()]*\)(?: const)? ")
"""Such as '/src/core/graph/model.cc:180 onnxruntime::Model::Model(const PathString&, bool) '."""


class OnnxRuntimeSession:
    """See Session."""

    runtime = "onnxruntime"
    version: str = ort.__version__

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs: Mapping[str, tuple[int | str, ...]] = {
            value.name: tuple(value.shape) for value in session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(value.name for value in session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            arrays = self._session.run(None, dict(feeds))
        except Exception as error:  # its exceptions share no base but this one
            raise RuntimeError(reason(error)) from error
        return dict(zip(self.outputs, arrays, strict=True))


def open_session(model: Model, *, optimise: bool = True) -> Session:
    """Load a file or its bytes, at the default level or as the graph stands.

    Raises OnnxFileError with ONNX Runtime's reason if it refuses them."""
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    argument = model if isinstance(model, bytes) else str(model)
    try:
        session = ort.InferenceSession(argument, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise OnnxFileError(
            f"ONNX Runtime {ort.__version__} refuses {source_of(model)}: {reason(error)}",
            fix="check that the file is complete, or update onnxruntime if the file is newer than it",
        ) from error
    return OnnxRuntimeSession(session)


def reason(error: Exception) -> str:
    """Return the message in one line, without ONNX Runtime's codes and the signatures of its functions."""
    text = CODE.sub("", str(error).strip())
    return " ".join(POSITION.sub("", text).split()).rstrip(".")

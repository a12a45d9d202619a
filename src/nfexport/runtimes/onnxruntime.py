"""ONNX Runtime at its default optimisation level, which is what users of a file run; on the CPU unless told."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nfexport.errors import InputError, OnnxFileError
from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line, source_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FATAL = 4
"""ONNX Runtime's severity above 'error': what goes wrong arrives as an exception, once."""

CPU = "CPUExecutionProvider"

IN_FLOAT32 = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options that make a provider compute in float32 what the file says in float32: CUDA's default rounds the
factors of products to TF32, 10 bits of mantissa, on every card that has it."""

CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
POSITION = re.compile(r"\S+\.(?:cc|h):\d+ [^()]*\([^()]*\)(?: const)? ")
"""Such as '/src/core/graph/model.cc:180 onnxruntime::Model::Model(const PathString&, bool) '."""


class OnnxRuntimeSession:
    """See Session."""

    runtime = "onnxruntime"

    def __init__(self, session: Any, version: str) -> None:
        self._session = session
        self.version = version
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.inputs: Mapping[str, tuple[int | str, ...]] = {
            value.name: tuple(value.shape) for value in session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(value.name for value in session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Session."""
        try:
            arrays = self._session.run(None, dict(feeds))
        except Exception as error:
            raise RuntimeError(reason(error)) from error
        return dict(zip(self.outputs, arrays, strict=True))


def open_session(
    model: Model, *, optimise: bool = True, providers: Sequence[str] = (), threads: int | None = None
) -> Session:
    """Load a file or its bytes, at the default level or as the graph stands.

    providers are names of execution providers ('CUDAExecutionProvider', or 'cuda'), the preferred one first.
    threads is the number of them for one inference, the caller's own included; None for one on each core.
    Raises OnnxFileError with ONNX Runtime's reason if it refuses them, and InputError for a provider that is
    not there, also if ONNX Runtime would quietly go on without it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if threads is not None:
        options.intra_op_num_threads = threads
    argument = model if isinstance(model, bytes) else str(model)
    wanted = [full_name(provider) for provider in providers] or [CPU]
    chosen = [(name, IN_FLOAT32[name]) if name in IN_FLOAT32 else name for name in wanted]
    try:
        session = ort.InferenceSession(argument, options, providers=chosen)
    except Exception as error:
        raise OnnxFileError(
            f"ONNX Runtime {ort.__version__} refuses {source_of(model)}: {reason(error)}",
            fix="check that the file is complete, or update onnxruntime if the file is newer than it",
        ) from error
    for name in wanted:
        if name not in session.get_providers():
            raise InputError(
                f"ONNX Runtime could not start {name} and went on with {', '.join(session.get_providers())}",
                fix="install the libraries that it needs, or leave --provider out",
            )
    return OnnxRuntimeSession(session, ort.__version__)


def full_name(provider: str) -> str:
    """Return ONNX Runtime's own name of an execution provider: 'cuda' is 'CUDAExecutionProvider'.

    Raises InputError for one that this build of ONNX Runtime does not have."""
    import onnxruntime as ort

    available = ort.get_available_providers()
    short = provider.lower().removesuffix("executionprovider")
    for name in available:
        if name.lower().removesuffix("executionprovider") == short:
            return str(name)
    raise InputError(
        f"ONNX Runtime {ort.__version__} has no execution provider '{provider}' here",
        fix=f"use one of {', '.join(available)}",
    )


def reason(error: Exception) -> str:
    """Return the message in one line, without ONNX Runtime's codes and the signatures of its functions."""
    text = CODE.sub("", str(error).strip())
    return one_line(POSITION.sub("", text))


RUNTIME = Runtime(
    name="onnxruntime",
    summary="ONNX Runtime at its default optimisation level",
    install="pip install onnxruntime",
    load=functools.partial(importlib.import_module, "onnxruntime"),
    open_session=open_session,
    takes_providers=True,
    takes_threads=True,
    takes_optimise=True,
    concurrent=True,
)

"""OpenVINO on the CPU, in float32.

On processors with bfloat16 units OpenVINO computes in bfloat16 unless told otherwise, an error of 1e-2 of
the output range. A file is verified for what it says, not for what a lower precision makes of it: the
session asks for float32 and for accuracy.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nfexport.runtimes.session.declared import refused
from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHERE = re.compile(
    r"(?:Exception from|Check '[^\n]*' failed at) \S+:\d+:|FrontEnd API failed with \w+:"
    r"|\nSummary:(?:\n-- Conversion is failed.*)?|To facilitate the conversion.*",
    re.DOTALL,
)
"""Such as 'Exception from src/inference/src/cpp/core.cpp:93:'."""


class OpenVinoSession:
    """See Session."""

    runtime = "openvino"
    providers: tuple[str, ...] = ()

    def __init__(self, compile_network: Callable[[], Any], version: str) -> None:
        self._compile = compile_network
        self._compiled = compiled = compile_network()
        self.version = version
        self.inputs: Mapping[str, tuple[int | str, ...]] = {
            _name(port): _shape(port.get_partial_shape()) for port in compiled.inputs
        }
        self._dtypes = {_name(port): port.get_element_type().to_dtype() for port in compiled.inputs}
        self.outputs: tuple[str, ...] = tuple(_name(port) for port in compiled.outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Session."""
        import numpy as np

        for name, array in feeds.items():
            if array.dtype != self._dtypes.get(name, array.dtype):  # OpenVINO would convert it
                raise RuntimeError(f"the input '{name}' is {self._dtypes[name]}, it is fed {array.dtype}")
        try:
            result = self._compiled(dict(feeds))
        except Exception as error:
            # what failed keeps the shapes that it failed on, and fails on others too
            self._compiled = self._compile()
            raise RuntimeError(reason(error)) from error
        # copied, as the next run writes into the same memory
        return {name: np.array(result[index]) for index, name in enumerate(self.outputs)}


def open_session(model: Model, *, threads: int | None = None) -> Session:
    """Load a file or its bytes, for float32 on the CPU.

    Raises OnnxFileError with OpenVINO's reason if it refuses them."""
    import openvino as ov
    from openvino import properties

    version = ov.__version__.partition("-")[0]
    hints = {
        properties.hint.inference_precision: ov.Type.f32,
        properties.hint.execution_mode: properties.hint.ExecutionMode.ACCURACY,
    }
    if threads is not None:
        hints[properties.inference_num_threads] = threads
    core = ov.Core()
    try:
        network = core.read_model(model, b"") if isinstance(model, bytes) else core.read_model(str(model))
        session = OpenVinoSession(lambda: core.compile_model(network, "CPU", hints), version)
    except Exception as error:
        raise refused(model, f"OpenVINO {version}", reason(error)) from error
    return session


def reason(error: Exception) -> str:
    """Return the message in one line, without the places in OpenVINO's sources."""
    return one_line(WHERE.sub(" ", str(error)))


def _name(port: Any) -> str:
    """Return the name in the file, also where OpenVINO's graph joins tensors and their names."""
    return str(port.get_node().get_friendly_name()).partition("/sink_port_")[0]


def _shape(partial: Any) -> tuple[int | str, ...]:
    if partial.rank.is_dynamic:
        return ()
    return tuple("?" if size.is_dynamic else size.get_length() for size in partial)


RUNTIME = Runtime(
    name="openvino",
    summary="OpenVINO on the CPU, in float32",
    install="pip install 'nfexport[openvino]'",
    load=functools.partial(importlib.import_module, "openvino"),
    open_session=open_session,
    takes_threads=True,
)

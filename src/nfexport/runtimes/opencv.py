"""OpenCV's dnn module, with its new engine.

It checks neither sizes nor element types: images of four channels run through a network of three. So what
the file declares is checked here. It takes images alone: one float32 input [batch, channels, height, width].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from nfexport import process
from nfexport.runtimes.session.declared import Declared, DeclaredSession, read, refused
from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODE = re.compile(r"OpenCV\([^)]*\) \S+:\d+: error: \(-\d+:([^)]*)\) ")
"""Such as 'OpenCV(5.0.0) /io/…/onnx_importer2.cpp:370: error: (-215:Assertion failed) '."""


class OpenCvSession(DeclaredSession):
    """See Session."""

    runtime = "opencv"

    def __init__(self, net: Any, declared: Declared, version: str) -> None:
        super().__init__(declared, version)
        self._net = net

    def _compute(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        import cv2
        import numpy as np

        try:
            with _silent():
                for name, array in feeds.items():
                    self._net.setInput(np.ascontiguousarray(array), name)
                arrays = self._net.forward(list(self.outputs))
        except cv2.error as error:
            raise RuntimeError(reason(error)) from error
        for name, array in zip(self.outputs, arrays, strict=True):
            if array is None:  # a tensor inside what OpenCV runs as one operator
                raise RuntimeError(f"it gives nothing for the output '{name}'")
        # copied, as the next run writes into the same memory
        return [np.array(array) for array in arrays]


def open_session(model: Model) -> Session:
    """Load a file or its bytes, for the engine that OpenCV 5 chooses by itself.

    That engine is named, so that OpenCV does not fall back to its classic one: that one, which is all that OpenCV 4
    has, ends the process on files that compute their weights, and nothing can be reported.
    Raises OnnxFileError for other inputs than one float32 image, and with OpenCV's reason if it refuses."""
    import cv2
    import numpy as np

    reader = f"OpenCV {cv2.__version__}"
    engine = cv2.dnn.ENGINE_NEW
    _, declared = read(model, reader=reader, weights=False)
    for name, dtype in declared.dtypes.items():
        shape = declared.inputs[name]
        if len(declared.inputs) > 1 or dtype != np.float32 or len(shape) != 4:
            raise refused(
                model,
                reader,
                f"it takes one float32 [batch, channels, height, width], and '{name}' is {dtype} of {len(shape)} "
                f"dimensions, one of {len(declared.inputs)} inputs",
            )
    try:
        with _silent():
            net = (
                cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8), engine)
                if isinstance(model, bytes)
                else cv2.dnn.readNetFromONNX(str(model), engine)
            )
    except cv2.error as error:
        raise refused(model, reader, reason(error)) from error
    return OpenCvSession(net, declared, cv2.__version__)


def reason(error: Exception) -> str:
    """Return the message in one line, without the place in OpenCV's sources."""
    return one_line(CODE.sub(r"\1: ", str(error)))


def _silent() -> AbstractContextManager[None]:
    """Keep OpenCV from logging to stderr what it raises anyway."""
    from cv2.utils import logging

    return process.setting(logging.getLogLevel, logging.setLogLevel, logging.LOG_LEVEL_SILENT)


def _load() -> object:
    import cv2

    if not hasattr(cv2.dnn, "ENGINE_NEW"):
        raise ImportError(f"OpenCV {cv2.__version__} is older than 5")
    return cv2


RUNTIME = Runtime(
    name="opencv",
    summary="OpenCV's dnn module, version 5 or later",
    install="pip install 'nfexport[opencv]'",
    load=_load,
    open_session=open_session,
)

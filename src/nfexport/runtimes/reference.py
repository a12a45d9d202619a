"""The reference evaluator of the onnx package: every operator in numpy, as its specification says.

It needs no further package, optimises nothing and fuses nothing, so what differs here differs in the file
itself. It is slow: seconds where other runtimes take a tenth of one.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nfexport.runtimes.session.declared import Declared, DeclaredSession, read, refused
from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ReferenceSession(DeclaredSession):
    """See Session."""

    runtime = "reference"

    def __init__(self, evaluator: Any, declared: Declared, version: str) -> None:
        super().__init__(declared, version)
        self._evaluator = evaluator

    def _compute(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        import numpy as np

        try:
            # numpy warns where an operator overflows; the comparison says what is not finite
            with np.errstate(all="ignore"):
                arrays: list[NDArray[Any]] = self._evaluator.run(None, dict(feeds))
        except Exception as error:
            raise RuntimeError(f"{one_line(str(error))} ({type(error).__name__})") from error
        return arrays


def open_session(model: Model) -> Session:
    """Load a file or its bytes, external data included.

    Raises OnnxFileError if it cannot be read, or has an operator that onnx has no definition of."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    reader = f"onnx.reference {onnx.__version__}"
    proto, declared = read(model, reader=reader)
    try:
        evaluator = ReferenceEvaluator(proto)
    except Exception as error:
        raise refused(model, reader, one_line(str(error))) from error
    return ReferenceSession(evaluator, declared, onnx.__version__)


RUNTIME = Runtime(
    name="reference",
    summary="the reference evaluator of the onnx package, in numpy",
    install="pip install onnx",
    load=functools.partial(importlib.import_module, "onnx.reference"),
    open_session=open_session,
)

"""The reference evaluator of the onnx package: every operator in numpy, as its specification says.

It needs no further package, optimises nothing and fuses nothing, so what differs here differs in the file
itself. It is slow: seconds where other runtimes take a tenth of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from nfexport.runtimes import Model, Session, one_line
from nfexport.runtimes.session.declared import Declared, DeclaredSession, read, refused

READER = f"onnx.reference {onnx.__version__}"


class ReferenceSession(DeclaredSession):
    """See Session."""

    runtime = "reference"
    version: str = onnx.__version__

    def __init__(self, evaluator: Any, declared: Declared) -> None:
        super().__init__(declared)
        self._evaluator = evaluator

    def _compute(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            # numpy warns where an operator overflows; the comparison says what is not finite
            with np.errstate(all="ignore"):
                arrays: list[NDArray[Any]] = self._evaluator.run(None, dict(feeds))
        except Exception as error:  # whatever numpy raises for operands that do not fit
            raise RuntimeError(f"{one_line(str(error))} ({type(error).__name__})") from error
        return arrays


def open_session(model: Model) -> Session:
    """Load a file or its bytes, external data included.

    Raises OnnxFileError if it cannot be read, or has an operator that onnx has no definition of."""
    proto, declared = read(model, reader=READER)
    try:
        evaluator = ReferenceEvaluator(proto)
    except Exception as error:  # RuntimeError, AttributeError, KeyError: they share no base but this one
        raise refused(model, READER, one_line(str(error))) from error
    return ReferenceSession(evaluator, declared)

"""Read an ONNX file without its weights, with one sentence for what is no ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx

from nfexport.errors import OnnxFileError
from nfexport.graph import recognise
from nfexport.graph.skim import DamagedError, Look, skim


def read(path: Path, look: Look | None = None, *, keep: int = 0) -> onnx.ModelProto:
    """Return the model without the values of its initializers, after a look at them; those of up to `keep`
    bytes stay.

    Raises OnnxFileError as inspect does."""
    recognise.check_readable(path)
    try:
        model = skim(path, look, keep=keep)
    except OSError as error:
        raise OnnxFileError(f"'{path}' cannot be read ({error.strerror})", fix="check its permissions") from error
    except DamagedError as damage:
        raise recognise.explain(path, damage) from damage
    if not model.ir_version or not model.graph.output:
        raise recognise.explain(path, DamagedError("it holds no graph"))
    return model

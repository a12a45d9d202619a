"""What a file declares of itself, read with onnx: for runtimes that do not tell, or do not check.

Neither onnx nor numpy is imported before a file is read, so that a runtime's file can build on this one.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfexport.errors import OnnxFileError
from nfexport.runtimes.session.protocol import Model, one_line, source_of

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared:
    """Inputs by name, with their shape, a symbolic size being a string, and their element type; the names of
    the outputs; in the order of the file."""

    inputs: Mapping[str, tuple[int | str, ...]]
    dtypes: Mapping[str, np.dtype[Any]]
    outputs: tuple[str, ...]

    def check_feeds(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Raise RuntimeError, in one line, for an array that the file does not take: another element type, or
        a size other than one that is fixed."""
        for name, shape in self.inputs.items():
            if name not in feeds:
                raise RuntimeError(f"the input '{name}' is not fed")
            array = feeds[name]
            if array.dtype != self.dtypes[name]:
                raise RuntimeError(f"the input '{name}' is {self.dtypes[name]}, it is fed {array.dtype}")
            fits = len(shape) == array.ndim and all(
                isinstance(size, str) or size == given for size, given in zip(shape, array.shape, strict=True)
            )
            if not fits:
                raise RuntimeError(f"the input '{name}' is {list(shape)}, it is fed {list(array.shape)}")


class DeclaredSession(abc.ABC):
    """A Session of a runtime that takes what it is fed unchecked: the file's own declaration is checked first."""

    providers: tuple[str, ...] = ()

    def __init__(self, declared: Declared, version: str) -> None:
        self._declared = declared
        self.version = version
        self.inputs: Mapping[str, tuple[int | str, ...]] = declared.inputs
        self.outputs: tuple[str, ...] = declared.outputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Session."""
        self._declared.check_feeds(feeds)
        return dict(zip(self.outputs, self._compute(feeds), strict=True))

    @abc.abstractmethod
    def _compute(self, feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Return the outputs in order, as arrays that the next run leaves alone. Raises RuntimeError with the
        runtime's reason, in one line."""


def load(model: Model, *, weights: bool = True) -> onnx.ModelProto:
    """Return a file, with the weights that are stored next to it unless told otherwise. Raises what onnx does."""
    import onnx

    if isinstance(model, bytes):
        return onnx.load_from_string(model)
    return onnx.load(Path(model), load_external_data=weights)


def read(model: Model, *, reader: str, weights: bool = True) -> tuple[onnx.ModelProto, Declared]:
    """Return a file, with the weights that are stored next to it unless told otherwise, and what it declares.
    reader names the runtime for messages.

    Raises OnnxFileError if it cannot be read, or holds no graph."""
    try:
        proto = load(model, weights=weights)
    except Exception as error:
        raise refused(model, reader, one_line(str(error))) from error
    if not proto.graph.output:
        raise refused(model, reader, "it holds no graph")
    return proto, declared(proto)


def declared(proto: onnx.ModelProto) -> Declared:
    """Return what the file declares; initializers that are listed as inputs do not count as inputs."""
    import numpy as np
    import onnx

    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in stored]
    return Declared(
        inputs={value.name: _shape(value.type.tensor_type.shape) for value in inputs},
        dtypes={
            value.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
            for value in inputs
        },
        outputs=tuple(value.name for value in proto.graph.output),
    )


def refused(model: Model, reader: str, reason: str) -> OnnxFileError:
    """Return the error of a runtime that refuses a file, with its reason in one line."""
    return OnnxFileError(
        f"{reader} refuses {source_of(model)}: {reason.rstrip('.')}",
        fix="check that the file is complete, try another opset, or name another --runtime",
    )


def _shape(shape: onnx.TensorShapeProto) -> tuple[int | str, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in shape.dim)

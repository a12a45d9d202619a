"""Open a model that is in memory, of any size: past 2 GiB no runtime takes it as bytes.

Such a model is written to a temporary folder, with external data, and opened by its path. The folder is removed as
soon as the runtime has opened the file; the environment variable TMPDIR says where it is made.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir

from nfexport.errors import OutputError
from nfexport.graph import model_writer
from nfexport.graph.constants import stored_bytes
from nfexport.graph.proto_graphs import initializers
from nfexport.graph.tensors import byte_count
from nfexport.runtimes import onnxruntime
from nfexport.runtimes.session.protocol import Model, Session

MARGIN = 1 << 24
"""Bytes left for the graph itself."""


def is_large(model: ir.Model | onnx.ModelProto) -> bool:
    """Say whether the weights of a model leave no room for it in one message."""
    if isinstance(model, onnx.ModelProto):
        size = sum(map(byte_count, initializers(model.graph)))
    else:
        size = stored_bytes(model.graph)
    return size > model_writer.PROTOBUF_LIMIT - MARGIN


@contextlib.contextmanager
def openable(model: ir.Model | onnx.ModelProto) -> Iterator[Model]:
    """Yield the model as runtimes take it: its bytes, or the path of a file that exists until the block ends.

    Raises OutputError if a temporary file is needed and cannot be written."""
    if not is_large(model):
        proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
        yield bytes(proto.SerializeToString())
        return
    graph = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nfexport-")))
            path = folder / "model.onnx"
            model_writer.write_model(graph, path, external_data=True)
        except OSError as error:
            raise OutputError(
                f"a model past 2 GiB has to be written to '{tempfile.gettempdir()}' before it runs, which fails "
                f"({error.strerror or error})",
                fix="name a folder with enough space in the environment variable TMPDIR",
            ) from error
        yield path


def open_in_memory(model: ir.Model | onnx.ModelProto, *, optimise: bool = True) -> Session:
    """Load a model into ONNX Runtime, at the default level or as its graph stands.

    Raises OnnxFileError if it refuses the model, and what openable does."""
    with openable(model) as source:
        return onnxruntime.open_session(source, optimise=optimise)

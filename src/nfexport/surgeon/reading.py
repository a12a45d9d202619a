"""Read any ONNX model into the one form that passes edit, and give it back in the form that it came in.

What cannot be read safely is refused in one sentence: what is not
ONNX, what onnx's checker refuses, and external data that is missing, short, or outside the file's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from nfexport.errors import InputError, OnnxFileError
from nfexport.inspection import inspect

if TYPE_CHECKING:
    import onnx_graphsurgeon


def read(source: Any) -> ir.Model:
    """Return the model behind a path, a ModelProto or an onnx_graphsurgeon.Graph.

    Raises OnnxFileError if it cannot be read safely, InputError for anything else."""
    if isinstance(source, str | Path):
        path = Path(source)
        facts = inspect(path)  # refuses what is no ONNX file, damaged, or lacks its external data
        _check(str(path), f"'{path}'")
        model = ir.load(path)
        # the outcome is one file, and runtimes take external data of a model in memory from nowhere
        try:
            ir.external_data.load_to_model(model)
        except (OSError, ValueError) as error:
            raise OnnxFileError(
                f"the external data of '{path}' ({', '.join(facts.external_data)}) cannot be read ({error})",
                fix="copy it again: it is shorter than the file says, or not readable",
            ) from error
    else:
        proto = _as_proto(source)
        _check(proto, "the model")
        model = ir.from_proto(proto)
    if model.graph.opset_imports.get("") is None and "ai.onnx" in model.graph.opset_imports:
        model.graph.opset_imports[""] = model.graph.opset_imports.pop("ai.onnx")
    if model.functions:
        InlinePass()(model)
    return model


def write_back(model: ir.Model, *, like: Any) -> Any:
    """Return the model as a graphsurgeon Graph if `like` is one, else as a ModelProto.

    graphsurgeon has no place for a model's metadata: the Graph carries it as `metadata_props`, a dict, which
    `read` takes from there."""
    proto = ir.to_proto(model)
    if not _is_graphsurgeon(like):
        return proto
    import onnx_graphsurgeon

    graph: onnx_graphsurgeon.Graph = onnx_graphsurgeon.import_onnx(proto)
    graph.metadata_props = dict(model.metadata_props)
    return graph


def _as_proto(source: Any) -> onnx.ModelProto:
    if isinstance(source, onnx.ModelProto):
        return source
    if _is_graphsurgeon(source):
        import onnx_graphsurgeon

        proto: onnx.ModelProto = onnx_graphsurgeon.export_onnx(source)
        # graphsurgeon stamps the newest IR version, which runtimes may not know yet
        proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
        onnx.helper.set_model_props(proto, dict(getattr(source, "metadata_props", {})))
        return proto
    raise InputError(
        f"a {type(source).__name__} is no ONNX model",
        fix="pass a path, an onnx.ModelProto or an onnx_graphsurgeon.Graph",
    )


def _is_graphsurgeon(source: Any) -> bool:
    # by name, so that the optional package is imported only for what comes from it
    return type(source).__module__.partition(".")[0] == "onnx_graphsurgeon"


def _check(model: str | onnx.ModelProto, name: str) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise OnnxFileError(
            f"{name} is refused by onnx's checker ({lines[0].rstrip('.')})",
            fix="export it again, or mend it with the tool that made it",
        ) from error

"""Read any ONNX model into the form that passes edit, and return it in the form that it came in.

What cannot be read safely is refused in one sentence: files that are not ONNX, what onnx's checker refuses, opsets
that the installed onnx does not define, sparse initializers, and external data that is missing, incomplete, or
outside the file's folder. The model's own functions are inlined. Operators of other domains stay as they are.
training_info is dropped; no runtime reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveUnusedOpsetsPass

from nfexport.errors import InputError, OnnxFileError
from nfexport.graph.external_data import check_external_data, refuse_external_data
from nfexport.graph.header import read_header
from nfexport.graph.proto_graphs import graphs

if TYPE_CHECKING:
    import onnx_graphsurgeon

OLDEST_READ = 7
"""Up to opset 6 operators broadcast in another way, and ONNX Runtime does not load them."""


def read_model(source: Any) -> ir.Model:
    """Return the model behind a path, a ModelProto or an onnx_graphsurgeon.Graph.

    Raises OnnxFileError if it cannot be read safely, InputError for anything else."""
    if isinstance(source, str | Path):
        path = Path(source)
        skeleton = read_header(path)  # refuses what is not an ONNX file, or damaged
        check_external_data(path, skeleton)
        _check(str(path), skeleton, f"'{path}'")
        model = ir.load(path)
        _map_external_data(model, path)
    else:
        proto = _as_proto(source)
        refuse_external_data(proto)
        _check(proto, proto, "the model")
        model = ir.from_proto(proto)
    if "ai.onnx" in model.graph.opset_imports:
        model.graph.opset_imports[""] = model.graph.opset_imports.pop("ai.onnx")
    if model.functions:
        InlinePass()(model)
        RemoveUnusedOpsetsPass()(model)
    return model


def write_back(model: ir.Model, *, like: Any) -> Any:
    """Return the model as a graphsurgeon Graph if `like` is one, else as a ModelProto.

    graphsurgeon has no place for a model's metadata: the Graph carries it as `metadata_props`, a dict, which
    `read_model` takes from there."""
    proto = ir.to_proto(model)
    if not _is_graphsurgeon(like):
        return proto
    import onnx_graphsurgeon

    graph: onnx_graphsurgeon.Graph = onnx_graphsurgeon.import_onnx(proto)
    graph.metadata_props = dict(model.metadata_props)
    return graph


def _map_external_data(model: ir.Model, path: Path) -> None:
    """Replace every tensor that is stored in another file by one that is mapped from there, and read when its values
    are asked for. Raises OnnxFileError if one cannot be mapped."""
    try:
        for graph in model.graphs():
            for value in graph.initializers.values():
                if isinstance(value.const_value, ir.ExternalTensor):
                    value.const_value = _mapped(value.const_value)
        for node in model.graph.all_nodes():
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                    node.attributes[name] = ir.AttrTensor(name, _mapped(attribute.value))
    except (OSError, ValueError) as error:
        raise OnnxFileError(
            f"the external data of '{path}' cannot be read ({error})", fix="check the permissions of its files"
        ) from error


def _mapped(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)


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
        f"a {type(source).__name__} is not an ONNX model",
        fix="pass a path, an onnx.ModelProto or an onnx_graphsurgeon.Graph",
    )


def _is_graphsurgeon(source: Any) -> bool:
    # by name, so that the optional package is imported only for what comes from it
    return type(source).__module__.partition(".")[0] == "onnx_graphsurgeon"


def _check(model: str | onnx.ModelProto, skeleton: onnx.ModelProto, name: str) -> None:
    """Raise OnnxFileError for what onnx's checker refuses, and for what it accepts and no pass can work on.

    skeleton is the model, with or without the values of its weights."""
    newest = onnx.defs.onnx_opset_version()
    opsets = {entry.version for entry in skeleton.opset_import if entry.domain in ("", "ai.onnx")}
    if len(opsets) > 1:
        raise OnnxFileError(
            f"{name} imports ONNX's own operators twice, of opsets {' and '.join(map(str, sorted(opsets)))}",
            fix="keep the one import that the file was made for",
        )
    if opsets and not OLDEST_READ <= max(opsets) <= newest:
        raise OnnxFileError(
            f"{name} is of opset {max(opsets)}, outside {OLDEST_READ}..{newest}, which the installed onnx and "
            "ONNX Runtime know",
            fix="convert it to another opset with the tool that made it, or install a newer onnx",
        )
    sparse = [tensor.values.name for graph in graphs(skeleton.graph) for tensor in graph.sparse_initializer]
    if sparse:
        raise OnnxFileError(
            f"{name} holds sparse initializers, the first is '{sparse[0]}'",
            fix="store them as dense initializers, with the tool that made it",
        )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise OnnxFileError(
            f"{name} is refused by onnx's checker ({lines[0].rstrip('.')})",
            fix="export it again, or mend it with the tool that made it",
        ) from error

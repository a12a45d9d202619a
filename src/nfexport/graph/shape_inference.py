"""Infer shapes by onnx's own rules: of a whole graph, of one node, or of a file that was read without its weights.

Names that inference gives to dimensions ('unk__0') are numbered anew in each run, so that equal names need not mean
equal sizes: only the names that the graph's inputs give ('batch') are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from nfexport import process
from nfexport.errors import InputError
from nfexport.graph import edit
from nfexport.graph.libraries import common_passes, ir, onnx
from nfexport.graph.proto_graphs import stored_constants
from nfexport.graph.recognisers import DEFAULT_DOMAIN, has_subgraph, is_default_domain


def input_symbols(graph: ir.Graph) -> frozenset[str]:
    """Return the names of the dimensions that the graph's inputs leave open."""
    dims = (dim for value in graph.inputs for dim in value.shape or ())
    return frozenset(dim.value for dim in dims if isinstance(dim, ir.SymbolicDim) and dim.value is not None)


def infer_shapes(model: ir.Model) -> None:
    """Infer every shape in place, from what the inputs and the constants tell."""
    symbols = input_symbols(model.graph)
    for node in model.graph:
        for output in node.outputs:
            if output.shape is not None and not output.is_graph_output():
                output.shape = ir.Shape([_known(dim, symbols) for dim in output.shape])
    # a graph on which inference fails is left as it is, and the checker says why in its own words
    with process.quiet_loggers("onnx_ir"):
        common_passes.ShapeInferencePass()(model)


def _known(dim: int | ir.SymbolicDim, symbols: frozenset[str]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    return dim.value if dim.value in symbols else None


def infer_outputs(node: ir.Node, opset: int) -> Mapping[str, onnx.TensorShapeProto]:
    """Return the shapes of a node's outputs that follow from the types and the constants of its inputs, by name."""
    if not is_default_domain(node) or has_subgraph(node):
        return {}
    types, data = {}, {}
    for value in node.inputs:
        if value is None or value.type is None:
            continue
        proto = onnx.ValueInfoProto()
        ir.serde.serialize_value_into(proto, value)
        types[str(value.name)] = proto.type
        array = edit.constant(value) if value.dtype == ir.DataType.INT64 else None
        if array is not None:
            data[str(value.name)] = onnx.numpy_helper.from_array(array)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, opset, ""),
            ir.serde.serialize_node(node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, KeyError):
        return {}
    shaped = {name: kind.tensor_type for name, kind in inferred.items() if kind.tensor_type.HasField("shape")}
    return {name: tensor.shape for name, tensor in shaped.items()}


def infer_file_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with all shapes that follow from its inputs' and from its small constants, functions inlined.

    The model itself is changed too. Raises InputError if onnx refuses it."""
    import onnx.inliner

    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _skip_identities(model.graph)
        # onnx gives up on a file that forgets to import the domain of a custom operator
        imported = {entry.domain for entry in model.opset_import}
        for domain in sorted({node.domain for node in model.graph.node} - imported - DEFAULT_DOMAIN):
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # what onnx raises differs between its versions
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"the shapes of the graph cannot be inferred ({reason})", fix="check the file with onnx.checker"
        ) from error


def _skip_identities(graph: onnx.GraphProto) -> None:
    """Let the readers of a stored constant's Identity read the constant, whose values shape inference sees."""
    names = {name: name for name in stored_constants(graph)}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = names[name]
        if node.op_type == "Identity" and node.input[0] in names:
            names[node.output[0]] = names[node.input[0]]

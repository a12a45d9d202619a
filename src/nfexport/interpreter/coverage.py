"""Which operators of a model the evaluator does not cover, without torch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from nfexport.graph.libraries import ir, onnx
from nfexport.graph.recognisers import DEFAULT_DOMAIN, operator_name
from nfexport.interpreter.operator_table import DEFAULT, find_rule


def uncovered_operators(model: ir.Model) -> tuple[str, ...]:
    """Return the operators of a model, in subgraphs too, that the evaluator cannot compute, sorted: 'Conv' for ONNX's
    own, 'domain::Op' for others. Model-local functions count by what they are made of."""
    local = {(function.domain, function.name) for function in model.functions.values()}
    missing = _missing(model.graph.all_nodes(), model.opset_imports, local)
    for function in model.functions.values():
        missing |= _missing(function.all_nodes(), function.opset_imports or model.opset_imports, local)
    return tuple(sorted(missing))


def version_of(domain: str, opsets: Mapping[str, int]) -> int:
    """Return the version of a domain that a model imports; 1 if it imports none."""
    if domain in DEFAULT_DOMAIN:
        return opsets.get(DEFAULT, opsets.get("ai.onnx", 1))
    return opsets.get(domain, 1)


@functools.cache
def schema_of(domain: str, name: str, version: int) -> Any:
    """Return the onnx.defs.OpSchema of an operator at a version of its domain; None if onnx has none."""
    try:
        return onnx.defs.get_schema(name, version, DEFAULT if domain in DEFAULT_DOMAIN else domain)
    except onnx.defs.SchemaError:
        return None


@functools.cache
def is_covered(domain: str, name: str, version: int) -> bool:
    """Say whether an operator has a rule, or a function in its schema that is made of operators that are covered."""
    if find_rule(domain, name, version) is not None:
        return True
    schema = schema_of(domain, name, version)
    if schema is None or not schema.has_function:
        return False
    body = schema.function_body
    opsets = {entry.domain: entry.version for entry in body.opset_import}
    return all(is_covered(node.domain, node.op_type, version_of(node.domain, opsets)) for node in body.node)


def _missing(nodes: Iterable[ir.Node], opsets: Mapping[str, int], local: set[tuple[str, str]]) -> set[str]:
    return {
        operator_name(node)
        for node in nodes
        if (node.domain, node.op_type) not in local
        and not is_covered(node.domain, node.op_type, version_of(node.domain, opsets))
    }

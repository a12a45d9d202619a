"""The table of operators that stayed the same holds against the schemas of the installed onnx."""

from __future__ import annotations

import itertools

import onnx
import pytest

from nfexport.passes.opset.rules import RULES
from nfexport.passes.opset.rules.unchanged import ROWS, means_the_same

Schema = onnx.defs.OpSchema
NARROWED = {
    # integers were taken out, which the check of types notices at the node
    ("Erf", 9, 13),
    ("ReduceLogSum", 18, 28),
    ("ReduceLogSumExp", 18, 28),
}
PAIRS = [(op_type, *pair) for op_type, rows in ROWS.items() for row in rows for pair in itertools.pairwise(row)]


def _schema(op_type: str, version: int) -> Schema:
    schema = onnx.defs.get_schema(op_type, version, "")
    assert schema.since_version == version, f"{op_type} has no version {version}"
    return schema


def _types(schema: Schema, type_str: str) -> set[str]:
    for constraint in schema.type_constraints:
        if constraint.type_param_str == type_str:
            return set(constraint.allowed_type_strs)
    return {type_str}


@pytest.mark.parametrize(("op_type", "older", "newer"), PAIRS)
def test_a_newer_version_only_adds(op_type: str, older: int, newer: int) -> None:
    a, b = _schema(op_type, older), _schema(op_type, newer)
    assert onnx.defs.get_schema(op_type, newer - 1, "").since_version == older, "a version is left out"
    for name, attribute in a.attributes.items():
        assert name in b.attributes
        assert attribute.type == b.attributes[name].type
        assert attribute.default_value == b.attributes[name].default_value
        # Constant's value became one of several
        assert not b.attributes[name].required or attribute.required
    for name in set(b.attributes) - set(a.attributes):
        assert not b.attributes[name].required
    assert len(a.inputs) <= len(b.inputs)
    assert len(a.outputs) == len(b.outputs)
    for old, new in zip([*a.inputs, *a.outputs], [*b.inputs[: len(a.inputs)], *b.outputs], strict=True):
        assert old.name == new.name
        if (op_type, older, newer) not in NARROWED:
            assert _types(a, old.type_str) <= _types(b, new.type_str)
    for extra in b.inputs[len(a.inputs) :]:
        assert extra.option == Schema.FormalParameterOption.Optional


def test_a_change_of_default_would_be_noticed() -> None:
    """The table must not hold Softmax 11 and 13: the test above fails on such a pair."""
    assert not means_the_same("Softmax", 11, 13)
    with pytest.raises(AssertionError):
        test_a_newer_version_only_adds("Softmax", 11, 13)
    with pytest.raises(AssertionError):
        test_a_newer_version_only_adds("ReduceMean", 13, 18)


def test_rules_are_for_operators_that_exist() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert set(RULES) | set(ROWS) <= known

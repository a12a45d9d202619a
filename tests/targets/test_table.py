"""The tables themselves: complete, sourced, and refused if a key is wrong."""

from __future__ import annotations

from pathlib import Path

import onnx.defs
import pytest

from nfexport.errors import NfexportError
from nfexport.targets import load, targets
from nfexport.targets.table import read_table

GOOD = """title = "T"
version = "1"
[source]
document = "d"
url = "https://example.org"
read = 2026-11-21
[operators]
taken = ["Relu"]
"""
RULE = '[[rules]]\noperators = ["Relu"]\n'


@pytest.mark.parametrize("name", targets())
def test_each_table_names_its_source_and_operators_that_onnx_knows(name: str) -> None:
    """Old operators that no schema of ai.onnx has any more are listed by their sources; nothing else."""
    table = load(name)
    assert table.source.url.startswith("https://")
    assert table.source.read.year >= 2026
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    old = {"ATen", "Affine", "ConstantFill", "Crop", "DynamicSlice", "ImageScaler", "IsFinite", "ParametricSoftplus"}
    old |= {"Scale", "ScaledTanh", "SimplifiedLayerNormalization"}
    assert table.operators - known <= old
    assert len(table.operators) > 130
    for rule in table.rules:
        assert set(rule.operators) <= table.operators
        for operator in rule.operators if rule.attribute else ():
            schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == operator and not s.domain]
            assert any(rule.attribute in schema.attributes for schema in schemas), (operator, rule.attribute)
        for operator in rule.operators:
            inputs = onnx.defs.get_schema(operator).inputs
            for input_name, position in {**rule.constant, **rule.input}.items():
                assert inputs[position].name == input_name, (operator, input_name)


def test_onnx_runtime_has_a_kernel_or_a_function_for_what_its_table_lists() -> None:
    """Against the kernels that are registered in the installed build, which its document is generated from."""
    kernels = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    registered = {k.op_name for k in kernels.get_all_opkernel_def() if k.domain == ""}
    functions = {
        s.name for s in onnx.defs.get_all_schemas_with_history() if s.has_function or s.has_context_dependent_function
    }
    listed = load("onnxruntime").operators - {"Constant"}
    assert listed - registered - functions == set()


def test_a_good_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(GOOD + RULE + 'attribute = "a"\nallowed = [1]\nflag = "--fold-ws"\n')
    table = read_table(tmp_path / "t.toml")
    assert (table.name, table.operators, table.rules[0].flag) == ("t", {"Relu"}, "--fold-ws")


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        (GOOD + "[limts]\n", "limts", "is none of the keys"),
        (GOOD + "[limits]\nmax_opsets = 3\n", "limits.max_opsets", "is none of the keys"),
        (GOOD + "[limits]\nmax_opset = '3'\n", "limits.max_opset", "has to be a whole number"),
        (GOOD + "[limits]\nmax_opset = true\n", "limits.max_opset", "has to be a whole number"),
        (GOOD.replace('url = "https://example.org"\n', ""), "source.url", "is missing"),
        (GOOD.replace("taken", "take"), "operators.taken", "is missing"),
        (GOOD.replace('["Relu"]', "[1]"), "operators.taken", "holds something other than strings"),
        (GOOD + RULE + "outputs = 1\nflags = ''\n", "rules[1].flags", "is none of the keys"),
        (GOOD + RULE, "rules[1].operators", "has 0 of the keys attribute, constant, input, outputs, form"),
        (GOOD + RULE + "outputs = 1\nform = 'any'\n", "rules[1].operators", "has 2 of the keys"),
        (GOOD + RULE + "form = 'odd'\n", "rules[1].form", "has to be one of training, zero-padded, any"),
        (GOOD + RULE + "form = 'any'\n", "rules[1].problem", "is missing, which a form needs"),
        (GOOD + RULE + "outputs = 1\neffect = 'bad'\n", "rules[1].effect", "has to be one of refused, wrong"),
        (GOOD + RULE + "attribute = 'a'\n", "rules[1].attribute", "has none of the keys allowed"),
        (GOOD + RULE + "input = { a = 1, b = 2 }\nvalues = [0]\n", "rules[1].input", "has to name one input"),
    ],
)
def test_a_wrong_key_is_named_with_the_file(tmp_path: Path, text: str, key: str, what: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(NfexportError) as caught:
        read_table(path)
    assert f"'{path}': '{key}' {what}" in str(caught.value)


def test_what_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("title =\n")
    with pytest.raises(NfexportError, match=r"t\.toml' is not TOML: "):
        read_table(tmp_path / "t.toml")

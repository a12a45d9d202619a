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
supported = ["Relu"]
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
    assert table.operators.supported - known <= old
    assert len(table.operators.supported) > 130
    for rule in table.rules:
        assert set(rule.operators) <= table.operators.supported
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
        s.name
        for s in onnx.defs.get_all_schemas_with_history()
        if getattr(s, "has_function", False) or getattr(s, "has_context_dependent_function", False)
    }
    listed = load("onnxruntime").operators.supported - {"Constant"}
    assert listed - registered - functions == set()


def test_a_good_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(GOOD + RULE + 'attribute = "a"\nallowed = [1]\nflag = "--fold-ws"\n')
    table = read_table(tmp_path / "t.toml")
    assert (table.name, table.operators.supported, table.rules[0].flag) == ("t", frozenset({"Relu"}), "--fold-ws")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "[limts]\n", "line 9, key 'limts': the key is unknown; use one of title, version, runtime, source"),
        (GOOD + "[limits]\nmax_opsets = 3\n", "line 10, key 'limits.max_opsets': the key is unknown; use one of min"),
        (
            GOOD + "[limits]\nmax_opset = '3'\n",
            "line 10, key 'limits.max_opset': it has to be a whole number, not text",
        ),
        (
            GOOD + "[limits]\nmax_opset = true\n",
            "key 'limits.max_opset': it has to be a whole number, not true or false",
        ),
        (GOOD + "[limits]\nmax_opset = 0\n", "key 'limits.max_opset': it has to be a whole number >= 1"),
        (GOOD.replace('url = "https://example.org"\n', ""), "line 3, key 'source': the key 'url' is missing; add it"),
        (GOOD.replace("supported", "supports"), "line 8, key 'operators.supports': the key is unknown"),
        (
            GOOD.replace('["Relu"]', "[1]"),
            "line 8, key 'operators.supported[1]': it has to be text, not a whole number",
        ),
        (GOOD.replace('["Relu"]', "[]"), "line 8, key 'operators.supported': it has to be a list of length >= 1"),
        (GOOD.replace('"d"', '" "'), "line 4, key 'source.document': it has to be text that is not blank"),
        (GOOD + RULE + "outputs = 1\nflags = ''\n", "line 12, key 'rules[1].flags': the key is unknown"),
        (GOOD + 2 * (RULE + "outputs = 1\n") + "x = 1\n", "line 15, key 'rules[2].x': the key is unknown"),
        (GOOD + RULE, "line 9, key 'rules[1]': it has 0 of the keys attribute, constant, input, outputs, form"),
        (GOOD + RULE + "outputs = 1\nform = 'any'\n", "line 9, key 'rules[1]': it has 2 of the keys"),
        (
            GOOD + RULE + "form = 'odd'\n",
            "line 11, key 'rules[1].form': 'odd' is unknown; use one of any, training, zero",
        ),
        (GOOD + RULE + "form = 'any'\n", "line 9, key 'rules[1]': 'form' needs the key problem"),
        (GOOD + RULE + "outputs = 1\neffect = 'bad'\n", "'bad' is unknown; use one of caution, refused, wrong"),
        (GOOD + RULE + "attribute = 'a'\n", "key 'rules[1]': 'attribute' needs one of the keys allowed"),
        (GOOD + RULE + "input = { a = 1, b = 2 }\nvalues = [0]\n", "key 'rules[1]': 'input' has to name one input"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(NfexportError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"'{path}', line ")
    assert message in str(caught.value)


def test_what_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("title =\n")
    with pytest.raises(NfexportError, match=r"t\.toml' is not TOML \(.*line 1"):
        read_table(tmp_path / "t.toml")

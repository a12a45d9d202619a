"""The evaluator against onnx's tests of single operators."""

from __future__ import annotations

import ast
from pathlib import Path

import onnx
import pytest

import nfexport
from nfexport.errors import OnnxFileError
from nfexport.interpreter.coverage import is_covered
from tests.interpreter.node_cases import check, float32_cases, newest, uncovered

NOT_COVERED = {
    "Bernoulli": "random",
    "RandomUniformLike": "random",
    "CausalConvWithState": "new in opset 27, in no file that was seen",
    "LinearAttention": "new in opset 27, in no file that was seen",
    "DeformConv": "rare",
    "MelWeightMatrix": "of audio",
    "TfIdfVectorizer": "of text",
    "ai.onnx.ml::ArrayFeatureExtractor": "of another domain",
    "ai.onnx.ml::Binarizer": "of another domain",
    "ai.onnx.ml::TreeEnsemble": "of another domain",
    "ai.onnx.preview::FlexAttention": "of another domain",
    "ai.onnx.preview.training::Adagrad": "of another domain",
    "ai.onnx.preview.training::Adam": "of another domain",
    "ai.onnx.preview.training::Momentum": "of another domain",
}
"""Operators of float32 tests that the evaluator does not compute, and why."""

REFUSED = {"test_col2im_5d", "test_training_dropout"}
"""Beginnings of the names of tests of forms that are refused: Col2Im of three axes, Dropout in training."""

SHARE = 0.95


def test_the_float32_tests_of_onnx_agree() -> None:
    missing: set[str] = set()
    refused, wrong, right = [], [], 0
    cases = float32_cases()
    for case in cases:
        if names := uncovered(case):
            missing |= set(names)
            continue
        try:
            check(case)
            right += 1
        except OnnxFileError as error:
            refused.append(f"{case.name}: {error}")
        except AssertionError as error:
            wrong.append(f"{case.name}: {str(error)[:200]}")
    assert wrong == []
    assert [name for name in refused if not name.startswith(tuple(REFUSED))] == []
    assert missing <= set(NOT_COVERED)
    assert len(cases) > 500
    assert right >= SHARE * len(cases), f"{right} of {len(cases)}"


def test_every_operator_that_the_passes_name_is_covered() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == "" and not schema.deprecated}
    folder = Path(nfexport.__file__).parent / "passes"
    named = {
        node.value
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in known
    }
    assert {"Conv", "Gemm", "Resize", "Pad"} <= named
    assert {name for name in named if not is_covered("", name, newest())} <= set(NOT_COVERED)


def test_that_a_wrong_result_is_noticed() -> None:
    case = next(case for case in float32_cases() if case.name == "test_add")
    case.model.graph.node[0].op_type = "Sub"
    try:
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            check(case)
    finally:
        case.model.graph.node[0].op_type = "Add"

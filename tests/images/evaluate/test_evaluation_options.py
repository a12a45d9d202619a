"""The keyword arguments of evaluate are its options."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

import nfexport
from nfexport.images.evaluate.evaluation_options import EvaluationKeywords, EvaluationOptions


def test_keywords_and_options_have_the_same_names_and_types() -> None:
    keywords, options = typing.get_type_hints(EvaluationKeywords), typing.get_type_hints(EvaluationOptions)
    assert keywords == options
    assert list(keywords) == [field.name for field in dataclasses.fields(EvaluationOptions)]


def test_an_unknown_keyword_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="limits"):
        nfexport.evaluate(tmp_path / "a.onnx", tmp_path, limits=3)  # type: ignore[call-arg]

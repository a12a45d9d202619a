"""What a file calls its tensors, nodes and domains is shown as text: no markup, no control characters."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from nfexport.cli import run
from nfexport.cli.parameter_types import PassReferenceType

EVIL = "[/x]\x1b[31mEVIL\x1b]0;t\x07"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[2] x) => (float[2] y) { z = Relu (x) y = Relu (z) }'
    )
    model.graph.input[0].name = model.graph.node[0].input[0] = EVIL
    model.graph.node[0].name = EVIL
    model.opset_import.append(onnx.helper.make_opsetid(EVIL, 1))
    onnx.save(model, tmp_path / "evil.onnx")
    return tmp_path / "evil.onnx"


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "FILE"],
        ["inspect", "FILE", "--cost"],
        ["check", "FILE", "--target", "tensorrt"],
        ["diff", "FILE", "FILE"],
        ["surgery", "FILE", "-o", "OUT", "--strip", "--no-verify", "-v"],
        ["surgery", "FILE", "-o", "OUT", "--rename", "nothing=other"],
        ["classify", "FILE", "FILE"],
    ],
)
def test_a_hostile_name_is_shown_as_text(
    words: list[str], hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [{"FILE": str(hostile), "OUT": str(tmp_path / "out.onnx")}.get(word, word) for word in words]
    assert run(filled) in (0, 1, 2)
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.py:B", ("a.py:B", {})),
        ("a.py:B:x=[1,2],y=a:b", ("a.py:B", {"x": [1, 2], "y": "a:b"})),
        ("limit-relu:limit=6.5,on=true", ("limit-relu", {"limit": 6.5, "on": True})),
        ("C:/a.py:B:text=one,two", ("C:/a.py:B", {"text": "one,two"})),
    ],
)
def test_parameters_of_a_pass_may_hold_colons_and_commas(text: str, expected: object) -> None:
    assert PassReferenceType().parse(text, None, None) == expected

"""`nfexport inspect` with its count of operations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_OK
from tests.inspection.files import model, network, node


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "m.onnx"
    path.write_bytes(network().SerializeToString())
    return str(path)


@pytest.fixture
def symbolic(tmp_path: Path) -> str:
    path = tmp_path / "s.onnx"
    path.write_bytes(model([node("Relu", "image", "out")], shape=("n", 3, "h", "w")).SerializeToString())
    return str(path)


def text(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_totals_and_their_rule_are_shown(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", file]) == EXIT_OK
    out = text(capsys)
    assert (
        "at 1 × 3 × 8 × 8, as OpenVINO's Model Analyzer, behind the documents of the Open Model Zoo (rule omz)" in out
    )
    assert "0.0000 GMACs, 0.0000 GFLOPs" in out
    assert "0.0001 M activations, 0.0008 M parameters" in out
    assert run(["inspect", file, "--count", "timm"]) == EXIT_OK
    out = text(capsys)
    assert "as fvcore, behind timm's published tables (rule timm)" in out
    assert "note a batch norm that was folded" in out


def test_layers_in_order_or_the_largest_first(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", file, "--layers"]) == EXIT_OK
    out = text(capsys)
    assert "layer operator output MACs FLOPs activations parameters" in out
    assert "x Conv 1 × 4 × 6 × 6 3,888 7,920 144 112 y Relu" in out
    assert run(["inspect", file, "--layers", "--sort", "parameters"]) == EXIT_OK
    out = text(capsys)
    assert out.index("out Gemm") < out.index("x Conv") < out.index("y Relu")


def test_json_holds_the_totals_and_with_layers_each(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", file, "--json", "--batch", "2"]) == EXIT_OK
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert (cost["rule"], cost["inputs"], cost["macs"]) == ("omz", {"image": [2, 3, 8, 8]}, 2 * (3888 + 720))
    assert "layers" not in cost
    assert run(["inspect", file, "--json", "--layers", "--count", "timm"]) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["cost_error"] is None
    assert [layer["op"] for layer in facts["cost"]["layers"]] == ["Conv", "Gemm"]


def test_a_missing_size_is_said_and_an_error_only_where_the_cost_is_asked_for(
    symbolic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "dim 2 of input 'image' (h) has no size, and none was given; pass --size HxW"
    assert run(["inspect", symbolic]) == EXIT_OK
    assert reason in text(capsys)
    assert run(["inspect", symbolic, "--json"]) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert (facts["cost"], facts["cost_error"]) == (None, reason)
    for asked in (["--cost"], ["--layers"], ["--count", "omz"], ["--batch", "2"]):
        assert run(["inspect", symbolic, *asked]) == EXIT_INPUT
        assert capsys.readouterr().err == f"nfexport: {reason}\n"
    assert run(["inspect", symbolic, "--cost", "--size", "4x6"]) == EXIT_OK
    assert "at 1 × 3 × 4 × 6" in text(capsys)
    assert run(["inspect", symbolic, "--size", "test"]) == EXIT_INPUT
    assert "'test' is not a size; pass N or HxW" in capsys.readouterr().err


def test_what_is_not_counted_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model([node("Mystery", "image", "out", domain="com.example")]).SerializeToString())
    assert run(["inspect", str(path)]) == EXIT_OK
    assert "not counted 1 nodes: com.example::Mystery 1; the totals are too small" in text(capsys)

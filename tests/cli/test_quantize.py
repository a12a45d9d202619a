"""The command line of int8."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nfexport.cli import run

SMALL = ["test_nfnet", "--image-size", "32", "--num-classes", "20", "--fold-ws", "--no-verify"]


def test_quantise_verify_and_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, rounded, direct = (str(tmp_path / f"{name}.onnx") for name in ("plain", "int8", "direct"))
    assert run([*SMALL, "-o", plain, "-q"]) == 0
    assert run(["quantize", plain, "-o", rounded, "--calibrate", "2", "--worst", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["products"], told["int8_products"], len(told["kept"])) == (34, 31, 3)
    assert told["on_seeded"]["images"] == 9
    asked = ["--quantize", "int8", "--calibrate", "2", "--worst", "1"]
    assert run([*SMALL, *asked, "-o", direct]) == 0
    assert "31 of 34 layers in int8, 3 kept in float" in capsys.readouterr().out
    assert Path(direct).read_bytes() == Path(rounded).read_bytes()
    assert run(["verify", rounded]) == 0
    assert "caution" in capsys.readouterr().out
    assert run(["card", rounded]) == 0
    assert "--calibrate 2 --worst 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quantize", "a.onnx", "-o", "b.onnx"], "pass --calibrate DIR, or N for seeded images"),
        ([*SMALL, "--quantize", "int8"], "pass --calibrate DIR, or N for seeded images"),
        ([*SMALL, "--worst", "3"], "--worst is for int8; add --quantize int8"),
        ([*SMALL, "--keep-float", "a"], "--keep-float is for int8; add --quantize int8"),
    ],
)
def test_what_does_not_go_together(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert message in capsys.readouterr().err

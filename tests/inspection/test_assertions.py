"""What a CI may ask of a file without a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import InputError
from nfexport.inspection.assertions import Assertions, parse_size


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("assertions") / "m.onnx"
    nfexport.export("test_nfnet", path, image_size=96, fold_ws=True, num_classes=10, verify=False)
    return path


@pytest.mark.parametrize(
    ("text", "size"),
    [("290MB", 290_000_000), ("1.5GiB", 1610612736), ("4096", 4096), ("2 kB", 2000), ("1KiB", 1024)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (["--assert-no-op", "BatchNormalization"], 0, None),
        (["--assert-no-op", "Conv"], 1, "--assert-no-op Conv fails: 33 Conv nodes where none is allowed"),
        (["--assert-op-count", "Conv=33", "--assert-op-count", "Conv<=40", "--assert-op-count", "Gemm>=1"], 0, None),
        (["--assert-op-count", "Conv>=34"], 1, "33 Conv nodes, not at least 34"),
        (["--max-size", "100kB"], 1, "more than 100,000"),
        (["--max-size", "2MB"], 0, None),
        (["--max-size", "2XB"], 2, "'2XB' is not a size"),
        (["--assert-op-count", "Conv=x"], 2, "is not a count of operators"),
        (["--assert-no-op", "BatchNorm"], 2, "did you mean 'BatchNormalization'?"),
        (["--assert-no-op", "acme::Thing"], 0, None),
    ],
)
def test_inspect_asserts(
    options: list[str], code: int, line: str | None, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(path), "-q", *options]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == (0 if line is None else 1)
    assert (line or "") in error


def test_verify_asserts_beside_the_numbers(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(path), "--json", "--assert-op-count", "Conv=1"]) == 1
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["passed"]
    assert answer["assertions"] == [
        {"assertion": "--assert-op-count Conv=1", "passed": False, "detail": "33 Conv nodes, not exactly 1"}
    ]


def test_a_wrong_assertion_is_an_input_error() -> None:
    with pytest.raises(InputError, match="ONNX has no operator 'Conf'"):
        Assertions(no_op=("Conf",)).check_syntax()

"""Cards as a user asks for them: styles, the command, its files and its mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nfexport
from nfexport.cards.styles import SUFFIX, available_styles
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_MISSING, EXIT_OK, InputError


def test_a_style_is_a_template_in_the_folder() -> None:
    folder = Path(nfexport.__file__).parent / "cards" / "templates"
    assert available_styles() == tuple(sorted(path.name[: -len(SUFFIX)] for path in folder.glob(f"*{SUFFIX}")))
    assert {"hf", "omz"} <= set(available_styles())


@pytest.mark.parametrize("style", available_styles())
def test_every_style_prints_every_file_the_same_each_time(style: str, files: dict[str, Path], foreign: Path) -> None:
    for path in (*files.values(), foreign):
        text = nfexport.card(path, style)
        assert text == nfexport.card(path, style)
        assert path.name in text
        assert text.endswith("\n")
        assert "\n\n\n" not in text
        assert "None" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert str(path.parent) not in text


def test_an_unknown_style_is_refused(foreign: Path) -> None:
    with pytest.raises(InputError, match=r"no card style 'html'; pass --style with one of hf, omz"):
        nfexport.card(foreign, "html")


def test_the_command_prints_or_writes_the_same_card(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = str(files["converted"]), tmp_path / "card.md"
    assert run(["card", file, "--style", "hf"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert printed == nfexport.card(file, "hf")
    assert run(["card", file, "--style", "hf", "-o", str(target)]) == EXIT_OK
    assert target.read_text(encoding="utf-8") == printed
    said = capsys.readouterr().out
    assert str(target) in "".join(line.removeprefix(" " * 9).rstrip("\n") for line in said.splitlines(keepends=True))
    assert "its licence, the paper to cite" in said
    assert run(["card", file, "--style", "hf", "--json"]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert found["markdown"] == printed
    assert found["card"]["form"] == "converted"
    assert found["card"]["specification"]["file_size"] == files["converted"].stat().st_size


def evaluation_of(file: Path, **changes: object) -> str:
    """Return what `nfexport evaluate --json` prints, as far as a card reads it."""
    recipe = nfexport.inspect(file).recipe
    assert recipe is not None
    score = {"runtime": "onnxruntime", "version": "1.31.1", "top1": 91.25, "top5": 99.5, "seconds": 3.0}
    whole = {"data": "/pictures/shapes", "pictures": 400, "recipe_sha256": recipe.digest, "runtimes": [score]}
    return json.dumps({**whole, **changes})


def test_an_evaluation_may_come_from_a_file(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(evaluation_of(files["original"]))
    assert run(["card", str(files["original"]), "--evaluation", str(path)]) == EXIT_OK
    text = capsys.readouterr().out
    assert "| Top 1  | 91.25% |\n| Top 5  | 99.50% |" in text
    assert "Measured with this file on 400 images of shapes (nfexport evaluate, onnxruntime 1.31.1)." in text


def test_an_evaluation_of_another_file_is_refused(
    files: dict[str, Path], foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(evaluation_of(files["original"]))
    for other in (files["converted"], foreign):
        assert run(["card", str(other), "--evaluation", str(path)]) == EXIT_INPUT
        assert "is that of a file with another recipe; evaluate this file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read (No such file or directory); check the path"),
        ("{", "is not JSON; pass what 'nfexport evaluate FILE … --json' printed"),
        ("[]", "has no accuracy in per cent"),
        ('{"runtimes": []}', "has no accuracy in per cent"),
        ('{"runtimes": [{"top1": 834, "top5": 1}], "data": "", "pictures": 1}', "has no accuracy in per cent"),
    ],
)
def test_an_evaluation_that_is_none_is_refused_in_a_sentence(
    content: str | None, complaint: str, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evaluation.json"
    if content is not None:
        path.write_text(content)
    assert run(["card", str(foreign), "--evaluation", str(path)]) == EXIT_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"nfexport: the evaluation '{path}' {complaint}")


def test_nothing_is_written_for_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["card", str(tmp_path / "none.onnx"), "-o", str(tmp_path / "card.md")]) == EXIT_INPUT
    assert not (tmp_path / "card.md").exists()
    assert run(["card", str(tmp_path / "none.onnx"), "-o", str(tmp_path / "no" / "card.md")]) == EXIT_INPUT
    assert "the folder" in capsys.readouterr().err.splitlines()[1]


def test_jinja_is_asked_for_by_name(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run(["card", str(foreign)]) == EXIT_MISSING
    problem, fix = capsys.readouterr().err.split("; ")
    assert problem == "nfexport: a model card needs jinja2, which is not installed"
    assert fix == "install it with: pip install 'nfexport[report]'\n"


def test_a_card_costs_neither_torch_nor_a_runtime(files: dict[str, Path]) -> None:
    program = (
        f"import nfexport, sys; nfexport.card({str(files['converted'])!r}, 'hf')\n"
        "print([name for name in ('torch', 'timm', 'onnxruntime', 'onnx_ir', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

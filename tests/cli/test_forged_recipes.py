"""A recipe that no export writes is refused in one sentence by every command that reads recipes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image

import nfexport
from nfexport.cli import run
from nfexport.recipe.metadata import DIGEST_KEY, RECIPE_KEY

Change = Callable[[dict[str, Any]], None]


def put(*path: Any, value: Any) -> Change:
    def change(recipe: dict[str, Any]) -> None:
        place: Any = recipe
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


NESTED: Any = 1
for _ in range(100):
    NESTED = [NESTED]

ONE_CHANNEL = {"mean": [0.5], "std": [0.5], "value_range": 1.0, "fold": False}
CROP = {"crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic", "value_range": 255.0, "opset": 18}

CHANGES: dict[str, Change] = {
    "wrong type": put("opset", value="eleven"),
    "unknown field": put("colour", value="red"),
    "out of range": put("num_classes", value=-1),
    "nesting": put("versions", value={"torch": NESTED}),
    "control characters": put("input_name", value="input\x1b[2J"),
    "markup": put("labels", value=["<script>alert(1)</script>"] * 1000),
    "console markup": put("architecture", value="[bold red]x[/]"),
    "a step that does not exist": put("passes", 0, value={"name": "format-disk"}),
    "a parameter of a pass": put("passes", -3, value={"name": "convert-opset", "params": {"opset": "rm -rf /"}}),
    "an option of a pass": put("options", "passes", value={"fold_ws": "yes"}),
    "an option that does not exist": put("options", "passes", value={"fold_everything": True}),
    "a mean of one channel": put("passes", value=[{"name": "normalize", "params": ONE_CHANNEL}]),
    "an impossible crop": put("passes", value=[{"name": "resize", "params": {**CROP, "crop_pct": -3}}]),
    "an unknown crop": put("passes", value=[{"name": "resize", "params": {**CROP, "crop_mode": "middle"}}]),
    "a step that lacks a parameter": put("passes", value=[{"name": "resize", "params": CROP}]),
    "means without deviations": put("preprocessing", "std", value=[0.5]),
    "an option of a quantisation": put(
        "operations", value=[{"command": "quantize", "options": {"calibrate": 2, "colour": "red"}}]
    ),
    "an option of a surgery": put("operations", value=[{"command": "surgery", "options": {"mean": "abc"}}]),
    "an operation": put("operations", value=[{"command": "shell", "options": {}}]),
}

COMMANDS = {
    "verify": ["verify"],
    "rebuild": ["rebuild"],
    "card": ["card"],
    "surgery": ["surgery", "-o", "OUT", "--strip"],
    "quantize": ["quantize", "-o", "OUT", "--calibrate", "2"],
    "evaluate": ["evaluate", "FOLDER"],
    "classify": ["classify", "FOLDER"],
    "golden record": ["golden", "record"],
    "export": ["export", "-o", "OUT", "--recipe"],
}
"""The commands that do what a recipe says; the file goes at the end, or before what it is applied to."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forged") / "m.onnx"
    nfexport.export("test_nfnet", path, opset=13, fold_ws=True, image_size=64, verify=False)
    return path


def forge(source: Path, target: Path, change: Change | None, text: str | None = None) -> Path:
    """Write a copy of a file with another recipe, and the digest that fits it."""
    model = onnx.load(source)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if text is None:
        assert change is not None
        recipe = json.loads(entries[RECIPE_KEY])
        change(recipe)
        text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    entries |= {RECIPE_KEY: text, DIGEST_KEY: hashlib.sha256(text.encode()).hexdigest()}
    onnx.helper.set_model_props(model, entries)
    onnx.save(model, target)
    return target


def complain(words: list[str], file: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command on a file, which has to refuse it, and return its one sentence."""
    filled = [{"OUT": str(folder / "out.onnx"), "FOLDER": str(folder)}.get(word, word) for word in words]
    position = 2 if words[:1] == ["golden"] else len(filled) if words[:1] == ["export"] else 1
    Image.new("RGB", (8, 8)).save(folder / "image.png")
    before = sorted(folder.iterdir())
    assert run([*filled[:position], str(file), *filled[position:]]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sorted(folder.iterdir()) == before
    (sentence,) = captured.err.splitlines()
    assert not re.search(r"[\x1b<]|\[[a-z/]", sentence)
    return sentence


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_forged_recipe_is_refused(
    command: str, kind: str, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = forge(exported, tmp_path / "m.onnx", CHANGES[kind])
    sentence = complain(COMMANDS[command], file, tmp_path, capsys)
    assert "recipe" in sentence or "parameters of the pass" in sentence or "--fold-ws cannot be" in sentence


@pytest.mark.parametrize("command", COMMANDS)
def test_ten_thousand_levels_of_nesting_are_refused(
    command: str, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = forge(exported, tmp_path / "m.onnx", None, "[" * 10_000 + "]" * 10_000)
    assert "levels deep" in complain(COMMANDS[command], file, tmp_path, capsys)


@pytest.mark.parametrize("kind", CHANGES)
def test_inspect_shows_the_rest_of_the_file(
    kind: str, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = forge(exported, tmp_path / "m.onnx", CHANGES[kind])
    assert run(["inspect", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"] is None
    assert shown["recipe_error"]
    assert shown["counted_parameters"] > 0
    assert run(["inspect", str(file)]) == 0
    text = capsys.readouterr().out
    assert "parameters" in text
    assert "\x1b" not in text


def test_that_the_file_itself_is_accepted(exported: Path, tmp_path: Path) -> None:
    same = forge(exported, tmp_path / "m.onnx", lambda recipe: None)
    assert nfexport.inspect(same).recipe == nfexport.inspect(exported).recipe


def test_a_recipe_beside_a_file_is_checked_like_the_one_inside(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = json.loads({entry.key: entry.value for entry in onnx.load(exported).metadata_props}[RECIPE_KEY])
    recipe["options"]["passes"] = {"rename": 5}
    (tmp_path / "r.json").write_text(json.dumps(recipe), encoding="utf-8")
    assert "--rename cannot be '5'" in complain(COMMANDS["export"], tmp_path / "r.json", tmp_path, capsys)


@pytest.mark.parametrize(
    ("key", "value"), [("passes", 3), ("extra_passes", 3), ("extra_passes", {"tidy": 4}), ("resize", [0, 0])]
)
def test_tables_that_are_none_are_refused(
    key: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"model": "test_nfnet", key: value}), encoding="utf-8")
    complain(COMMANDS["export"], tmp_path / "r.json", tmp_path, capsys)

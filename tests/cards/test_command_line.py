"""The commands in a card give the same recipe again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

import nfexport
from nfexport.cards.command_line import commands
from nfexport.cli import run
from nfexport.recipe.recipe import Recipe, Weights
from tests.cards.conftest import FORMS


def recipe_of(path: Path) -> Recipe:
    recipe = nfexport.inspect(path).recipe
    assert recipe is not None
    return recipe


def run_again(lines: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for line in lines:
        program, *words = shlex.split(line.replace("\\\n", " "))
        assert program == "nfexport"
        assert run([*words, "--no-verify", "-q"]) == 0


# 'features' takes a head and maps at once; the others each a branch of their own
@pytest.mark.parametrize("name", FORMS)
def test_an_export(name: str, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(files[name])
    run_again(commands(recipe, "again.onnx"), tmp_path, monkeypatch)
    assert recipe_of(tmp_path / "again.onnx") == recipe
    assert (tmp_path / "again.onnx").read_bytes() == files[name].read_bytes()


def test_surgeries_get_a_command_each(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, twice = tmp_path / "once.onnx", tmp_path / "twice.onnx"
    nfexport.surgery(
        files["original"], once, normalize="nodes", input_range=255, outputs=("probs",), batch=3, verify=False
    )
    nfexport.surgery(
        once, twice, channels="bgr", input_dtype="uint8", rename={"input": "image", "probs": "p"}, verify=False
    )
    lines = commands(recipe_of(twice), "again.onnx")
    assert [line.partition(" -")[0] for line in lines] == [
        "nfexport test_nfnet",
        "nfexport surgery step0.onnx",
        "nfexport surgery step1.onnx",
    ]
    run_again(lines, tmp_path, monkeypatch)
    assert recipe_of(tmp_path / "again.onnx") == recipe_of(twice)


def test_a_checkpoint_is_left_to_name(files: dict[str, Path]) -> None:
    recipe = replace(recipe_of(files["original"]), weights=Weights(kind="checkpoint", digest="0"))
    assert "--checkpoint CHECKPOINT " in commands(recipe, "m.onnx")[0]


def test_other_weights_and_classes_are_named(files: dict[str, Path]) -> None:
    recipe = recipe_of(files["original"])
    recipe = replace(
        recipe,
        source=replace(recipe.source, model="test_nfnet.r160_in1k", num_classes=7),
        options=replace(recipe.options, opset=13, dynamic_size=True, passes={"strip": True}),
    )
    (line,) = commands(recipe, "my model.onnx")
    assert line.replace(" \\\n   ", "") == (
        "nfexport test_nfnet.r160_in1k --num-classes 7 --image-size 96 --opset 13 --dynamic-size --strip "
        "-o 'my model.onnx'"
    )

"""A file can be built again from the recipe inside it, to the byte; what prevents that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from msgspec.structs import replace

import nfexport
from nfexport.cli import run
from nfexport.errors import OnnxFileError, RecipeError, WeightsUnreachable
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.recipe import Recipe

EXPORTS: dict[str, dict[str, Any]] = {
    "test_nfnet": {"opset": 11, "fold_ws": True, "image_size": 96},
    "nf_regnet_b0": {"opset": 13, "optimize": True, "image_size": 96, "merge_groups": False},
    "efficientnet_b0": {
        "opset": 17,
        "image_size": 96,
        "normalize": "fold",
        "channels": "bgr",
        "input_range": 255,
        "outputs": ("probs", "topk"),
        "top_k": 3,
        "batch": 2,
        "num_classes": 10,
        "rename": {"input": "image"},
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
        "labels": tuple(f"class {number}" for number in range(10)),
        "external_data": True,
    },
}


def recipe_of(path: Path) -> Recipe:
    recipe = nfexport.inspect(path).recipe
    assert recipe is not None
    return recipe


@pytest.mark.parametrize("model", EXPORTS)
def test_the_same_bytes_come_out(model: str, tmp_path: Path) -> None:
    file = tmp_path / f"{model}.onnx"
    nfexport.export(model, file, verify=False, **EXPORTS[model])
    result = nfexport.rebuild(file, tmp_path / "again.onnx", verify=False)
    assert result.differences == ()
    assert result.reproduced
    assert set(result.digests) == {file.name, *nfexport.inspect(file).external_data}


def test_surgery_and_quantisation_are_repeated(tmp_path: Path) -> None:
    nfexport.export("test_nfnet", tmp_path / "a.onnx", opset=13, fold_ws=True, image_size=96, verify=False)
    nfexport.surgery(tmp_path / "a.onnx", tmp_path / "b.onnx", outputs=("probs",), batch=2, verify=False)
    nfexport.surgery(tmp_path / "b.onnx", tmp_path / "c.onnx", input_dtype="uint8", verify=False)
    assert nfexport.rebuild(tmp_path / "c.onnx", verify=False).reproduced
    nfexport.quantize(tmp_path / "a.onnx", tmp_path / "int8.onnx", calibrate=4)
    assert nfexport.rebuild(tmp_path / "int8.onnx", verify=False).reproduced


def forged(source: Path, target: Path, **changes: Any) -> Path:
    """Write a copy of a file whose recipe has other values; its digest is made to fit."""
    model = onnx.load(source)
    onnx.helper.set_model_props(model, write_recipe(replace(recipe_of(source), **changes)))
    onnx.save(model, target)
    return target


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rebuild") / "m.onnx"
    nfexport.export("test_nfnet", file, opset=11, fold_ws=True, image_size=96, verify=False)
    return file


def test_another_version_is_named(exported: Path, tmp_path: Path) -> None:
    versions = {**recipe_of(exported).versions, "torch": "1.0.0"}
    result = nfexport.rebuild(forged(exported, tmp_path / "m.onnx", versions=versions), verify=False)
    assert not result.reproduced
    assert result.differences[0].startswith("version of torch: the file was written with 1.0.0")


def test_other_weights_are_named(exported: Path, tmp_path: Path) -> None:
    weights = replace(recipe_of(exported).weights, digest="0" * 64)
    result = nfexport.rebuild(forged(exported, tmp_path / "m.onnx", weights=weights), verify=False)
    assert result.differences[0].startswith("weights: the state dict of the recipe is 000000000000…")


def test_another_option_is_named(exported: Path, tmp_path: Path) -> None:
    options = replace(recipe_of(exported).options, passes={"fold_ws": True, "strip": True})
    result = nfexport.rebuild(forged(exported, tmp_path / "m.onnx", options=options), verify=False)
    assert result.differences[0].startswith("recipe: 'passes' is ")


def test_a_graph_that_was_changed_is_named(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = bytes(4) + weight.raw_data[4:]
    onnx.save(model, tmp_path / "m.onnx")
    result = nfexport.rebuild(tmp_path / "m.onnx", verify=False)
    assert weight.name in result.differences[0]
    assert result.differences[0].startswith("graph: ")


def test_the_command_prints_the_first_difference_and_exits_with_1(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rebuild", str(exported), "--no-verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reproduced"] is True
    versions = {**recipe_of(exported).versions, "timm": "0.0.1"}
    other = forged(exported, tmp_path / "m.onnx", versions=versions)
    assert run(["rebuild", str(other), "--no-verify"]) == 1
    shown = capsys.readouterr().out
    assert "version of timm" in shown
    assert "NOT EQUAL" in shown


def test_what_cannot_be_rebuilt_is_said(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(OnnxFileError, match="has no recipe"):
        nfexport.rebuild(tmp_path / "bare.onnx")
    weights = replace(recipe_of(exported).weights, kind="checkpoint", seed=None)
    with pytest.raises(WeightsUnreachable, match="--checkpoint FILE"):
        nfexport.rebuild(forged(exported, tmp_path / "c.onnx", weights=weights))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.onnx", "c.onnx"]


def test_a_recipe_is_exported_again_with_another_option(exported: Path, tmp_path: Path) -> None:
    result = nfexport.export(recipe_of(exported), tmp_path / "m.onnx", opset=13, verify=False)
    assert result.recipe.opset == 13
    assert "fold-ws" in {step.name for step in result.recipe.passes}


TOML = """
model = "test_nfnet"
opset = 11
fold-ws = true
image_size = 96

[rename]
output = "scores"
"""


def test_a_recipe_that_people_write_is_exported(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(TOML.replace('\n[rename]\noutput = "scores"\n', ""), encoding="utf-8")
    assert (
        run(["export", "--recipe", str(tmp_path / "r.toml"), "-o", str(tmp_path / "t.onnx"), "--no-verify", "-q"])
        == 0
    )
    assert (tmp_path / "t.onnx").read_bytes() == exported.read_bytes()
    (tmp_path / "r.json").write_text(recipe_of(exported).to_json(), encoding="utf-8")
    assert (
        run(["export", "--recipe", str(tmp_path / "r.json"), "-o", str(tmp_path / "j.onnx"), "--no-verify", "-q"])
        == 0
    )
    assert (tmp_path / "j.onnx").read_bytes() == exported.read_bytes()
    assert run(["export", "--recipe", str(exported), "-o", str(tmp_path / "o.onnx"), "--no-verify", "-q"]) == 0
    assert (tmp_path / "o.onnx").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opset = 11", "does not name a model"),
        ("model = 3", "does not name a model"),
        ('model = "test_nfnet"\nopset = "11"', r"expected `int \| null`, got `str` - at `\$.opset`"),
        ('model = "test_nfnet"\nopsett = 11', "no option 'opsett'; did you mean 'opset'"),
        ('model = "test_nfnet"\nfold_ws = "yes"', "--fold-ws cannot be 'yes'"),
        ('model = "test_nfnet"\nchannels = "brg"', "--channels cannot be 'brg'"),
        ('model = "a\\u001b[31m"', "control characters or markup"),
        ("model = ", "is not TOML"),
        ('model = "test_nfnet"\nx = ' + "[" * 10_000 + "]" * 10_000, "levels deep|is not TOML"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused_in_one_sentence(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    assert run(["export", "--recipe", str(tmp_path / "r.toml"), "-o", str(tmp_path / "t.onnx")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "t.onnx").exists()


def test_keywords_that_do_not_exist_are_named() -> None:
    with pytest.raises(TypeError, match="no option 'fold_w'; did you mean 'fold_ws'"):
        nfexport.export("test_nfnet", fold_w=True)  # type: ignore[call-arg]
    with pytest.raises(RecipeError, match=r"expected `int \| null`"):
        nfexport.export("test_nfnet", opset="11")  # type: ignore[arg-type]


def export_cli(*words: object) -> int:
    return run(["export", *map(str, words), "--no-verify", "-q"])


def test_what_the_command_line_says_wins_over_a_recipe_even_where_it_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "test_nfnet"\nopset = 11\nbatch = 4\nseed = 3\nimage_size = 96\n')
    out = tmp_path / "m.onnx"
    recipe = ("--recipe", tmp_path / "r.toml", "-o", out)
    assert export_cli(*recipe, "--opset", 17, "--batch", "dynamic", "--seed", 0) == 0
    assert (recipe_of(out).opset, recipe_of(out).batch, recipe_of(out).weights.seed) == (17, "dynamic", 0)
    assert export_cli(*recipe, "--features", "1,2") == 0
    assert export_cli("--recipe", out, "--features", "-o", tmp_path / "all.onnx") == 0
    assert len(recipe_of(tmp_path / "all.onnx").outputs) == 5


def test_a_recipe_of_a_checkpoint_is_not_exported_with_other_weights(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = replace(recipe_of(exported).weights, kind="checkpoint", seed=None)
    file = forged(exported, tmp_path / "c.onnx", weights=weights)
    assert export_cli("--recipe", file, "-o", tmp_path / "m.onnx") == 3
    assert "--checkpoint FILE" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="seeded weights, not those of a checkpoint"):
        nfexport.rebuild(exported, checkpoint=tmp_path / "w.pth")


def test_a_checkpoint_in_a_recipe_lies_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "r.toml").write_text('model = "test_nfnet"\ncheckpoint = "w.safetensors"\n')
    assert export_cli("--recipe", tmp_path / "models" / "r.toml", "-o", tmp_path / "m.onnx") == 2
    assert "models/w.safetensors" in capsys.readouterr().err


OWN_PASS = """
from nfexport import Pass


class Nothing(Pass):
    \"\"\"Change nothing.\"\"\"

    name = "nothing"

    def call(self, model):
        return self.rewrote(model, [], "changes")
"""


def test_a_recipe_with_a_pass_that_is_not_here_is_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nfexport.passes import registry

    (tmp_path / "own.py").write_text(OWN_PASS)
    own = tmp_path / "own.onnx"
    try:
        assert export_cli("--recipe", exported, "--pass", f"{tmp_path / 'own.py'}:Nothing", "-o", own) == 0
        assert nfexport.rebuild(own, verify=False).reproduced
    finally:
        registry._of_files.clear()
        registry._sorted.cache_clear()
    for command in (["export", "--recipe", str(own), "-o", str(tmp_path / "m.onnx")], ["rebuild", str(own)]):
        assert run(command) == 2
        assert "'nothing' is not installed; install the package" in capsys.readouterr().err


def test_operations_of_a_recipe_exclude_another_form_of_the_file(exported: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.onnx"
    nfexport.surgery(exported, file, strip=True, verify=False)
    with pytest.raises(RecipeError, match="--to cannot be combined with a recipe that holds operations"):
        nfexport.export(recipe_of(file), tmp_path / "m.onnx", to="openvino")


def test_a_surgery_that_was_forced_is_repeated(exported: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.onnx", tmp_path / "twice.onnx"
    nfexport.surgery(exported, once, normalize="nodes", verify=False)
    nfexport.surgery(once, twice, normalize="nodes", force=True, verify=False)
    assert nfexport.rebuild(twice, verify=False).reproduced


def test_a_rebuilt_file_has_external_data_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    nfexport.export("test_nfnet", file, image_size=96, external_data=True, verify=False)
    assert nfexport.rebuild(file, tmp_path / "again.onnx", verify=False).reproduced
    file.with_name("x.onnx.data").unlink()
    assert nfexport.inspect(tmp_path / "again.onnx").external_data == ("again.onnx.data",)
    onnx.checker.check_model(str(tmp_path / "again.onnx"))


@pytest.mark.parametrize(
    "option",
    [("--input-name", "im[0]"), ("--output-name", "<y>"), ("--rename", "output=a`b")],
)
def test_a_name_that_no_recipe_may_hold_is_refused(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export_cli("test_nfnet", *option, "-o", tmp_path / "m.onnx") == 2
    assert "use names and labels without control characters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_zero_is_a_value_too(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="opset 0"):
        nfexport.surgery(exported, tmp_path / "m.onnx", opset=0)
    with pytest.raises(RecipeError, match="--resize cannot be '0'"):
        nfexport.export("test_nfnet", tmp_path / "m.onnx", resize=0)

"""What a recipe claims beside the numbers is held to the weights' own configuration, whatever its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from msgspec.structs import replace

import nfexport
from nfexport import sources
from nfexport.cli import run
from nfexport.errors import EXIT_VERIFICATION
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.recipe import Recipe
from nfexport.sources.model.spec import ModelSpec
from nfexport.workflows.metadata_claims import metadata_disagreements

FAST: dict[str, Any] = {"exporter": "torchscript", "opset": 17, "verify": False}

EXPORTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "given": {
        "mean": (0.1, 0.2, 0.3),
        "std": (0.5, 0.6, 0.7),
        "crop_pct": 0.8,
        "crop_mode": "squash",
        "interpolation": "bilinear",
    },
    "inside": {"normalize": "fold", "channels": "bgr", "input_range": 255, "input_dtype": "uint8"},
    "resized": {"resize": (200, 300), "normalize": "nodes", "input_range": 255},
    "classes": {"num_classes": 3, "labels": ("a", "b", "c"), "in_chans": 1, "image_size": 96},
    "any size": {"dynamic_size": True, "image_size": "train"},
}


def recipe_of(path: Path) -> Recipe:
    recipe = nfexport.inspect(path).recipe
    assert recipe is not None
    return recipe


def found(recipe: Recipe) -> tuple[str, ...]:
    return metadata_disagreements(recipe, sources.load_from_recipe(recipe))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("metadata") / "m.onnx"
    nfexport.export("test_resnet", path, **FAST)
    return path


@pytest.mark.parametrize("options", EXPORTS.values(), ids=EXPORTS)
def test_what_a_user_gives_contradicts_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    nfexport.export("test_resnet", tmp_path / "m.onnx", **FAST, **options)
    assert found(recipe_of(tmp_path / "m.onnx")) == ()


def test_a_surgery_in_front_contradicts_nothing(exported: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    nfexport.surgery(exported, first, normalize="fold", input_range=255, verify=False)
    nfexport.surgery(first, second, input_dtype="uint8", outputs=("probs",), verify=False)
    assert found(recipe_of(second)) == ()
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    nfexport.surgery(exported, tmp_path / "c.onnx", normalize="nodes", mean=mean, std=std, verify=False)
    assert found(recipe_of(tmp_path / "c.onnx")) == ()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "mean": ({"mean": (0.4, 0.5, 0.6)}, "preprocessing, mean: the recipe says (0.4, 0.5, 0.6), its options and"),
    "std": ({"std": (1.0, 1.0, 1.0)}, "preprocessing, std: "),
    "crop": ({"crop_pct": 0.5}, "preprocessing, crop_pct: "),
    "interpolation": ({"interpolation": "nearest"}, "preprocessing, interpolation: the recipe says nearest"),
    "channels": ({"channel_order": "bgr"}, "preprocessing, channel_order: the recipe says bgr"),
    "range": ({"value_range": (0.0, 255.0)}, "preprocessing, value_range: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_preprocessing_that_is_not_the_models_is_named(exported: Path, name: str) -> None:
    recipe = recipe_of(exported)
    changes, said = WRONG[name]
    forged = replace(recipe, stored_preprocessing=replace(recipe.preprocessing, **changes))
    (sentence,) = found(forged)
    assert sentence.startswith(said)


def test_labels_that_are_not_the_models_are_named(exported: Path) -> None:
    (sentence,) = found(replace(recipe_of(exported), labels="imagenet-22k"))
    assert sentence.startswith(
        "labels: the recipe says imagenet-22k, its options and the model's configuration give "
    )


def test_sizes_that_were_not_asked_for_are_named(exported: Path) -> None:
    recipe = recipe_of(exported)
    loaded = sources.load_from_recipe(recipe)
    for field, value, said in (
        ("num_classes", 7, "number of classes: the recipe says 7, "),
        ("stored_in_channels", 4, "number of channels: the recipe says 4, "),
    ):
        sentences = metadata_disagreements(replace(recipe, **{field: value}), loaded)
        assert any(sentence.startswith(said) for sentence in sentences)
    asked = replace(recipe, source=replace(recipe.source, image_size=96))
    assert metadata_disagreements(asked, loaded)[0].startswith("image size: the recipe says (160, 160), ")


def test_a_checkpoint_of_the_same_name_contradicts_nothing(tmp_path: Path) -> None:
    import safetensors.torch

    weights = tmp_path / "w.safetensors"
    module = sources.load(ModelSpec(name="test_resnet", seed=5, num_classes=7)).module
    safetensors.torch.save_file(module.state_dict(), weights)
    nfexport.export("test_resnet", tmp_path / "m.onnx", checkpoint=weights, **FAST)
    recipe = recipe_of(tmp_path / "m.onnx")
    loaded = sources.load_from_recipe(recipe, checkpoint=weights)
    assert metadata_disagreements(recipe, loaded, checkpoint=weights) == ()


def test_a_forged_mean_fails_although_every_number_agrees(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(exported)
    forged = replace(recipe, stored_preprocessing=replace(recipe.preprocessing, mean=(0.4, 0.5, 0.6)))
    model = onnx.load(exported)
    onnx.helper.set_model_props(model, write_recipe(forged))
    onnx.save(model, tmp_path / "m.onnx")
    assert run(["verify", str(tmp_path / "m.onnx")]) == EXIT_VERIFICATION
    assert "preprocessing, mean: the recipe says" in " ".join(capsys.readouterr().out.split())

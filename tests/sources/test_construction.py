"""Sizes, classes, the catalogue, and rebuilding from a recipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from msgspec.structs import replace

from nfexport.errors import EXIT_INPUT, RecipeError
from nfexport.recipe.export_options import ExportOptions, Source
from nfexport.recipe.recipe import Output, Recipe, Weights
from nfexport.sources import ModelSpec, load, load_from_recipe
from nfexport.sources.timm.catalogue import find_standardised, known_standardised, list_architectures
from nfexport.sources.timm.image_sizes import choose_size, preprocessing
from nfexport.sources.timm.names import resolve_name


@pytest.mark.parametrize(
    ("name", "wanted", "size"),
    [
        ("dm_nfnet_f0", None, (256, 256)),
        ("dm_nfnet_f0", "train", (192, 192)),
        ("nfnet_l0", "test", (288, 288)),
        ("efficientnet_b0", "test", (224, 224)),
        ("nfnet_l0", 160, (160, 160)),
        ("nfnet_l0", (96, 128), (96, 128)),
    ],
)
def test_sizes(name: str, wanted: object, size: tuple[int, int]) -> None:
    assert choose_size(wanted, resolve_name(name, pretrained=False).cfg) == size  # type: ignore[arg-type]


def test_the_test_size_has_its_own_crop() -> None:
    cfg = resolve_name("nfnet_l0", pretrained=True).cfg
    assert preprocessing(cfg, (288, 288)).crop_pct == 1.0
    assert preprocessing(cfg, (224, 224)).crop_pct == 0.9


@pytest.mark.parametrize(
    ("name", "size", "problem"),
    [
        ("test_vit", 30, "does not accept images of 30×30"),
        pytest.param("vgg11", 16, "does not accept images of 16×16", marks=pytest.mark.slow),
        ("test_nfnet", 0, "has no pixels"),
        # these three are refused in the constructor: by an assertion without words, with words, by a division
        ("vit_tiny_r_s16_p8_224", (40, 72), "does not accept images of 40×72$"),
        ("xcit_nano_12_p8_224", 30, "does not accept images of 30×30 .*divide image dimensions evenly"),
        ("gmlp_ti16_224", 1, "does not accept images of 1×1 .*division by zero"),
        # and this one while its running statistics are taken
        ("efficientvit_m0", 1, "does not accept images of 1×1"),
    ],
)
def test_sizes_that_an_architecture_refuses(name: str, size: int | tuple[int, int], problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(ModelSpec(name=name, image_size=size))
    assert re.search(problem, caught.value.problem)
    assert "--image-size" in caught.value.fix


def test_a_network_of_fixed_size_is_built_for_the_size_asked_for() -> None:
    loaded = load(ModelSpec(name="test_vit", image_size=96))
    assert loaded.image_size == (96, 96)


def test_a_negative_number_of_classes_is_refused() -> None:
    with pytest.raises(RecipeError, match="the number of classes cannot be -1"):
        load(ModelSpec(name="test_nfnet", num_classes=-1))


@pytest.mark.parametrize("name", ["test_nfnet", "test_vit", "test_efficientnet"])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_network_of_other_channels(name: str, channels: int) -> None:
    loaded = load(ModelSpec(name=name, in_chans=channels))
    assert loaded.in_channels == channels
    with torch.inference_mode():
        assert loaded.module(torch.zeros(1, channels, *loaded.image_size)).shape == (1, 1000)
    mean = loaded.preprocessing.mean
    assert len(mean) == len(loaded.preprocessing.std) == channels
    own = load(ModelSpec(name=name)).preprocessing.mean
    assert mean == (sum(own) / 3,) * channels


def test_arguments_of_a_model_reach_its_constructor() -> None:
    plain = load(ModelSpec(name="test_nfnet"))
    loaded = load(ModelSpec(name="test_nfnet", model_kwargs={"global_pool": "max", "act_layer": "gelu"}))
    assert loaded.weights.digest == plain.weights.digest
    image = torch.rand(1, 3, *plain.image_size)
    with torch.inference_mode():
        assert not torch.allclose(loaded.module(image), plain.module(image))
    assert load(ModelSpec(name="test_vit", model_kwargs={"img_size": 96})).image_size == (96, 96)
    dynamic = load(ModelSpec(name="test_vit", model_kwargs={"dynamic_img_size": True}, image_size=96))
    assert dynamic.weights.digest == load(ModelSpec(name="test_vit")).weights.digest


@pytest.mark.parametrize(
    ("name", "keywords", "problem", "fix"),
    [
        ("test_nfnet", {"global_pol": "max"}, "no argument 'global_pol'", "did you mean 'global_pool'"),
        ("test_nfnet", {"xyzzy": 1}, "no argument 'xyzzy'", "global_pool, output_stride.*channels"),
        ("test_vit", {"xyzzy": 1}, "no argument 'xyzzy'", "its constructor takes img_size, patch_size"),
        ("test_nfnet", {"global_pool": "xyzzy"}, "cannot be built with global_pool='xyzzy'", "--model-kwargs"),
        ("test_nfnet", {"act_layer": "xyzzy"}, "cannot be built with act_layer='xyzzy'", "--model-kwargs"),
        ("test_nfnet", {"depths": {"a": 1}}, "depths cannot be", "pass text, a number"),
        ("test_nfnet", {"depths": float("nan")}, "depths cannot be nan", "pass text, a number"),
        ("test_nfnet", {"num_classes": 3}, "num_classes is no argument", "pass --num-classes instead"),
        ("test_nfnet", {"features_only": True}, "features_only is no argument", "pass --features instead"),
        ("test_nfnet", {"device": "cuda"}, "device is no argument", "leave it out"),
        ("test_vit", {"img_size": "96"}, "img_size='96' is no image size", "--image-size"),
    ],
)
def test_arguments_that_a_model_does_not_accept(
    name: str, keywords: dict[str, object], problem: str, fix: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load(ModelSpec(name=name, model_kwargs=keywords))
    assert re.search(problem, caught.value.problem)
    assert re.search(fix, caught.value.fix)


def test_averaged_weights_are_those_of_a_checkpoint() -> None:
    with pytest.raises(RecipeError, match="--ema is about the weights of a checkpoint"):
        load(ModelSpec(name="test_nfnet", ema=True))


def recipe_with(weights: Weights) -> Recipe:
    loaded = load(ModelSpec(name="test_nfnet"))
    return Recipe(
        source=Source(model="test_nfnet"),
        options=ExportOptions(),
        architecture="test_nfnet",
        weights=weights,
        stored_image_size=loaded.image_size,
        stored_in_channels=3,
        num_classes=1000,
        batch="dynamic",
        opset=17,
        exporter="torchscript",
        passes=(),
        input_name="input",
        outputs=(Output(kind="logits", name="output"),),
        stored_preprocessing=loaded.preprocessing,
        labels=loaded.labels,
        versions={"timm": "1.0.31", "nfexport": "0.1.0"},
    )


def test_a_recipe_rebuilds_the_same_weights() -> None:
    weights = load(ModelSpec(name="test_nfnet", seed=5)).weights
    assert load_from_recipe(recipe_with(weights)).weights == weights


def test_other_weights_than_the_recipes_are_told_with_the_way_to_the_right_ones(tmp_path: Path) -> None:
    seeded = load(ModelSpec(name="test_nfnet", seed=5))
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file(seeded.module.state_dict(), path)
    elsewhere = replace(seeded.weights, digest="0" * 64)
    trained = Weights(kind="checkpoint", digest="0" * 64)
    for weights, checkpoint, fix in (
        (elsewhere, None, "install the versions that seeded them (nfexport 0.1.0, timm 1.0.31)"),
        (elsewhere, path, "leave --checkpoint out"),
        (trained, path, "pass the checkpoint that the file was exported from"),
    ):
        with pytest.raises(RecipeError, match=r"are not those of the recipe .* instead of 000000000000") as caught:
            load_from_recipe(recipe_with(weights), checkpoint=checkpoint)
        assert fix in caught.value.fix
        assert caught.value.exit_code == EXIT_INPUT


def test_the_catalogue_marks_weight_standardisation() -> None:
    marks = {entry.architecture: entry.weight_standardised for entry in list_architectures("*50*")}
    assert marks["resnetv2_50x1_bit"]
    assert marks["nf_resnet50"]
    assert not marks["resnet50"]
    assert len(known_standardised()) == 51


@pytest.mark.slow
def test_the_shipped_table_is_current() -> None:
    assert set(find_standardised()) == known_standardised()

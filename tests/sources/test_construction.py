"""Sizes, classes, the catalogue, and rebuilding from a recipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import safetensors.torch
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

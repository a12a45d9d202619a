"""A recipe survives the way into a file and back, and shows when somebody touched it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nfexport.errors import RecipeError
from nfexport.recipe import metadata
from nfexport.recipe.recipe import Output, PassStep, Preprocessing, Recipe, Weights

RECIPE = Recipe(
    architecture="test_nfnet",
    weights=Weights(kind="seeded", digest="ab" * 32, seed=0),
    image_size=(96, 160),
    in_channels=3,
    num_classes=10,
    batch="dynamic",
    opset=11,
    exporter="torchscript",
    passes=(PassStep(name="fold-ws"), PassStep(name="convert-opset", params={"opset": 11})),
    input_name="input",
    outputs=(Output(kind="logits", name="output"), Output(kind="features", name="features_1", level=1)),
    preprocessing=Preprocessing(
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        crop_pct=0.9,
        crop_mode="center",
        interpolation="bicubic",
    ),
    labels="imagenet-1k",
    versions={"torch": "2.13.0", "nfexport": "0.1.0"},
)


def test_it_comes_back_from_a_file_as_it_went_in() -> None:
    assert metadata.read_recipe(metadata.write_recipe(RECIPE)) == RECIPE


def test_names_of_classes_come_back_too() -> None:
    named = dataclasses.replace(RECIPE, labels=("cat", "dog"))
    assert metadata.read_recipe(metadata.write_recipe(named)) == named


def test_the_json_is_canonical() -> None:
    text = RECIPE.to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    shuffled = dict(reversed(RECIPE.versions.items()))
    assert dataclasses.replace(RECIPE, versions=shuffled).digest == RECIPE.digest


def test_every_field_counts_for_the_digest() -> None:
    for change in ({"opset": 12}, {"batch": 1}, {"image_size": (160, 96)}, {"labels": None}, {"passes": ()}):
        assert dataclasses.replace(RECIPE, **change).digest != RECIPE.digest


def test_a_file_without_recipe_has_none() -> None:
    assert metadata.read_recipe({"author": "somebody"}) is None


def test_a_recipe_that_was_changed_is_refused() -> None:
    entries = metadata.write_recipe(RECIPE)
    entries[metadata.RECIPE_KEY] = entries[metadata.RECIPE_KEY].replace('"opset":11', '"opset":12')
    with pytest.raises(RecipeError, match="changed after the export"):
        metadata.read_recipe(entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not one of nfexport's"),
        ('{"format": 99}', "has format 99, this nfexport reads 2"),
        ('{"format": 2}', "does not have the fields of format 2"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(text)


def test_weights_say_what_they_are_in_plain_words() -> None:
    assert RECIPE.weights.describe() == "seeded (seed 0), untrained; add --pretrained for trained ones"
    trained = Weights(kind="pretrained", digest="0" * 64, tag="ra2_in1k")
    assert trained.describe() == "pretrained, timm tag ra2_in1k"

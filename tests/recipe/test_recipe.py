"""A recipe survives the way into a file and back, and shows when it was changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from nfexport.errors import RecipeError
from nfexport.recipe import metadata
from nfexport.recipe.export_options import ExportOptions, Source
from nfexport.recipe.recipe import RECIPE_FORMAT, Operation, Output, PassStep, Preprocessing, Recipe, Weights

RECIPE = Recipe(
    source=Source(model="test_nfnet"),
    options=ExportOptions(opset=11, passes={"fold_ws": True}),
    architecture="test_nfnet",
    weights=Weights(kind="seeded", digest="ab" * 32, seed=0),
    stored_image_size=(96, 160),
    stored_in_channels=3,
    num_classes=10,
    batch="dynamic",
    opset=11,
    exporter="torchscript",
    passes=(PassStep(name="fold-ws"), PassStep(name="convert-opset", params={"opset": 11})),
    input_name="input",
    outputs=(Output(kind="logits", name="output"), Output(kind="features", name="features_1", level=1)),
    stored_preprocessing=Preprocessing(
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
    assert metadata.unchecked_recipe(metadata.write_recipe(RECIPE)) == RECIPE


def test_names_of_classes_come_back_too() -> None:
    named = replace(RECIPE, labels=("cat", "dog"))
    assert metadata.unchecked_recipe(metadata.write_recipe(named)) == named


def test_the_json_is_canonical() -> None:
    text = RECIPE.to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    shuffled = dict(reversed(list(RECIPE.versions.items())))
    assert replace(RECIPE, versions=shuffled).digest == RECIPE.digest


def test_every_field_counts_for_the_digest() -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"opset": 12},
        {"batch": 1},
        {"stored_image_size": (160, 96)},
        {"labels": None},
        {"passes": ()},
        {"source": Source(model="test_nfnet", seed=1)},
        {"options": ExportOptions(opset=11)},
        {"operations": (Operation(command="surgery"),)},
    )
    for change in changes:
        assert replace(RECIPE, **change).digest != RECIPE.digest


def test_a_file_without_recipe_has_none() -> None:
    assert metadata.unchecked_recipe({"author": "somebody"}) is None


def test_a_recipe_that_was_changed_is_refused() -> None:
    entries = metadata.write_recipe(RECIPE)
    entries[metadata.RECIPE_KEY] = entries[metadata.RECIPE_KEY].replace('"opset":11', '"opset":12')
    with pytest.raises(RecipeError, match="changed after the export"):
        metadata.unchecked_recipe(entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not one of nfexport's"),
        ('{"format": 99}', f"has format 99, this nfexport reads {RECIPE_FORMAT}"),
        ('{"format": true}', "has format True"),
        ('{"format": 3}', "missing required field `source`"),
        ("[" * 10_000 + "]" * 10_000, "levels deep"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "levels deep"),
    ],
)
def test_what_is_not_a_recipe_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(text)


def changed(path: str, value: Any) -> str:
    """Return the recipe's JSON with one value replaced, or added: 'weights.seed'."""
    plain: Any = RECIPE.to_dict()
    *parents, last = path.split(".")
    place = plain
    for part in parents:
        place = place[int(part) if part.isdecimal() else part]
    place[int(last) if last.isdecimal() else last] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("opset", "11", r"expected `int`, got `str` - at `\$.opset`"),
        ("opset", 11.5, "expected `int`, got `float`"),
        ("opset", True, "expected `int`, got `bool`"),
        ("opset", -1, ">= 1"),
        ("image_size", [96], "length 2, got 1"),
        ("image_size", [96, 0], ">= 1"),
        ("batch", "many", "invalid enum value"),
        ("batch", 0, ">= 1"),
        ("exporter", "mine", "invalid enum value"),
        ("colour", "red", "unknown field `colour`"),
        ("weights.colour", "red", "unknown field `colour`"),
        ("weights.digest", "x" * 64, "matching regex"),
        ("weights.seed", -1, ">= 0"),
        ("preprocessing.std", [0.25, 0.25, 0], "> 0"),
        ("preprocessing.mean", [1e300, 0, 0], "<= 1000000000"),
        ("preprocessing.layout", "nchw; rm -rf /", "invalid enum value"),
        ("options.opset", "11", r"expected `int \| null`"),
        ("options.unknown", 1, "unknown field `unknown`"),
        ("passes.0.params", [], "expected `object`, got `array`"),
        ("outputs.0.kind", "password", "invalid enum value"),
        ("format", 2, "has format 2"),
    ],
)
def test_each_field_is_validated_and_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.from_json(changed(path, value))
    assert "\n" not in str(caught.value)


UNSAFE = ("\x1b[31mred", "line\nbreak", "<script>alert(1)</script>", "[bold]x[/]", "`id`", "\u202egnp.exe", "\ud800")


@pytest.mark.parametrize("text", UNSAFE)
@pytest.mark.parametrize(
    "path",
    [
        "architecture",
        "input_name",
        "labels",
        "outputs.0.name",
        "passes.0.name",
        "passes.1.params",
        "versions",
        "source.model",
    ],
)
def test_control_characters_and_markup_are_refused_in_every_string(path: str, text: str) -> None:
    value: Any = {"passes.1.params": {"a": [{"b": text}]}, "versions": {text: "1"}}.get(path, text)
    with pytest.raises(RecipeError, match=r"control characters or markup|not JSON") as caught:
        Recipe.from_json(changed(path, value))
    assert not set(str(caught.value)) & set("\x1b\n<[`\u202e")


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(RecipeError, match="not JSON"):
        Recipe.from_json(RECIPE.to_json().replace("0.25", "NaN"))


def test_weights_say_what_they_are_in_plain_words() -> None:
    assert RECIPE.weights.describe() == "seeded (seed 0), untrained; add --pretrained for trained ones"
    trained = Weights(kind="pretrained", digest="0" * 64, tag="ra2_in1k")
    assert trained.describe() == "pretrained, timm tag ra2_in1k"

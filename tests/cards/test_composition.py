"""A card says what is in the file, and calls unknown what is not."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from msgspec.structs import replace

import nfexport
from nfexport.cards.composition import describe
from nfexport.cards.document import render
from nfexport.cards.input_forms import input_forms
from nfexport.errors import RecipeError
from nfexport.inspection import FileFacts
from nfexport.recipe.about import About, Accuracy
from nfexport.recipe.interface import callers_part
from nfexport.recipe.recipe import Preprocessing, Recipe, Weights
from tests.asked import front_steps
from tests.cards.conftest import FORMS

IMAGENET = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_pct=0.9, crop_mode="center", interpolation="bicubic"
)
BIBTEX = "@article{brock2021high,\n  year={2021}\n}"
ABOUT = About(
    title="nfnet-f0",
    summary="A network without normalisation.",
    preset="nfnet-f0",
    licence="Apache-2.0",
    dataset="ImageNet-1k",
    origin="https://github.com/huggingface/pytorch-image-models",
    citations=(BIBTEX, "https://arxiv.org/abs/2102.06171"),
    claimed=Accuracy(top1=83.34, top5=96.56, dataset="ImageNet-1k", source="the Open Model Zoo"),
)


def shape_of(value: onnx.ValueInfoProto) -> str:
    return ", ".join(dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def facts_of(file: Path, *, trained: bool = False, about: About | None = None) -> FileFacts:
    facts = nfexport.inspect(file)
    assert facts.recipe is not None
    weights = Weights(kind="pretrained", digest="0", tag="r160_in1k") if trained else facts.recipe.weights
    return dataclasses.replace(facts, recipe=replace(facts.recipe, weights=weights), about=about)


def section(text: str, heading: str) -> str:
    return re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("style", ["omz", "hf"])
@pytest.mark.parametrize("name", FORMS)
def test_names_types_and_shapes_are_those_of_the_file(name: str, style: str, files: dict[str, Path]) -> None:
    text = nfexport.card(files[name], style)
    graph = onnx.load(files[name], load_external_data=False).graph
    for value in (*graph.input, *graph.output):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
        assert f"name - `{value.name}`, type - `{dtype}`, shape - `{shape_of(value)}`, format is `B, " in text


@pytest.mark.parametrize(
    ("front", "form", "lines"),
    [
        ({}, "original", []),
        ({"normalize": "nodes", "channels": "bgr", "input_range": 255}, "converted", []),
        ({"channels": "bgr"}, "own", ["`BGR`", "[103.53,116.28,123.675]", "[57.375,57.12,58.395]"]),
        ({"normalize": "nodes"}, "own", ["`RGB`", "[0,0,0]", "[255,255,255]"]),
        ({"input_range": 255}, "own", ["`RGB`", "[123.675,116.28,103.53]", "[0.229,0.224,0.225]"]),
        ({"normalize": "nodes", "resize": "any"}, "own", ["`RGB`"]),
    ],
)
def test_each_form_is_told_from_any_file(
    front: dict[str, Any], form: str, lines: list[str], files: dict[str, Path]
) -> None:
    """The documents' numbers come out, whatever stands in front of the network of the file at hand."""
    facts = nfexport.inspect(files["original"])
    assert facts.recipe is not None
    steps = front_steps(IMAGENET, opset=18, **front)
    recipe = replace(facts.recipe, passes=steps, stored_preprocessing=callers_part(IMAGENET, steps))
    found, forms = input_forms(recipe, facts.inputs[0])
    assert found == form
    text = render(describe(dataclasses.replace(facts, recipe=recipe)), "omz")
    original, converted, *own = section(text, "Input").split("### ")[1:]
    assert (
        "Channel order is `RGB`.\nMean values - [123.675,116.28,103.53], scale values - [58.395,57.12,57.375]."
        in (original)
    )
    assert "Channel order is `BGR`.\nValues are those of pixels, 0 to 255" in converted
    assert ["This file has this form." in part for part in (original, converted)] == [
        form == "original",
        form == "converted",
    ]
    assert [entry.title for entry in forms][2:] == (["This file"] if form == "own" else [])
    assert all(line in own[0] for line in lines)


def test_the_sections_are_those_of_the_open_model_zoo(files: dict[str, Path]) -> None:
    text = re.sub(r"```.*?```", "", nfexport.card(files["converted"]), flags=re.DOTALL)
    headings = re.findall(r"^#+ .*", text, flags=re.MULTILINE)
    theirs = """# test_nfnet
## Use Case and High-Level Description
## Specification
## Accuracy
## Input
### Original model
### Converted model
## Output
### Original model
### Converted model
## Legal Information""".splitlines()
    ours = ["## Run the Model", "## How the File Was Made", "## Citation"]
    assert [heading for heading in headings if heading not in ours] == theirs
    assert [heading for heading in headings if heading in ours] == ours


def test_figures_are_counted_in_the_file(files: dict[str, Path]) -> None:
    text = section(nfexport.card(files["converted"]), "Specification")
    # 381,768 weights and biases, as inspect counts them
    assert "| MParams          | 0.3818 |" in text
    assert f"| File size        | {files['converted'].stat().st_size:,} bytes |" in text
    assert "| ONNX opset       | 11 |" in text
    single, double = (describe(nfexport.inspect(files[name])).specification for name in ("original", "odd"))
    assert single.flops is not None
    assert double.flops is not None
    # 96×64 and a batch of 2: counted for one image, of two thirds of the size
    assert double.flops / single.flops == pytest.approx(2 / 3, rel=0.02)


def test_seeded_weights_have_no_accuracy(files: dict[str, Path]) -> None:
    for about in (None, ABOUT):
        text = section(render(describe(facts_of(files["original"], about=about)), "omz"), "Accuracy")
        assert "The weights are untrained" in text
        assert "| Top 1" not in text
    assert "claims top-1 83.34% and top-5 96.56% on ImageNet-1k. This file does not hold them." in text


def test_a_claim_names_its_source_and_a_measurement_its_images(files: dict[str, Path]) -> None:
    facts = facts_of(files["converted"], trained=True, about=ABOUT)
    text = section(render(describe(facts), "omz"), "Accuracy")
    assert "| Top 1  | 83.34% |\n| Top 5  | 96.56% |" in text
    assert "Claimed by the Open Model Zoo on ImageNet-1k; not measured with this file." in text
    measured = dataclasses.replace(facts, evaluation=Accuracy(top1=97.5, images=360, dataset="rendered shapes"))
    text = section(render(describe(measured), "omz"), "Accuracy")
    assert "| Top 1  | 83.34% | 97.50% |\n| Top 5  | 96.56% | unknown |" in text
    assert "Measured with this file on 360 images of rendered shapes." in text
    assert "not measured" not in text


def test_trained_weights_without_a_figure_have_an_unknown_accuracy(files: dict[str, Path]) -> None:
    card = describe(facts_of(files["original"], trained=True))
    assert "Unknown: the file carries no accuracy" in section(render(card, "omz"), "Accuracy")
    assert card.unknown == ("its accuracy", "its licence", "the paper to cite")


def test_what_is_said_of_the_model_is_printed(files: dict[str, Path]) -> None:
    card = describe(facts_of(files["converted"], trained=True, about=ABOUT))
    assert card.unknown == ()
    for style in ("omz", "hf"):
        text = render(card, style)
        assert "A network without normalisation." in text
        assert f"```bibtex\n{BIBTEX}\n```" in text
        assert "https://arxiv.org/abs/2102.06171" in text
        assert "preset `nfnet-f0`" in text
        assert "timm}" not in text  # no citation beside those given
    legal = render(card, "omz").split("## Legal Information\n")[1]
    assert "[Apache-2.0](https://spdx.org/licenses/Apache-2.0.html)" in legal


def test_without_about_timm_alone_is_cited_and_no_licence_named(files: dict[str, Path]) -> None:
    text = nfexport.card(files["original"])
    assert text.count("```bibtex") == 1
    assert "@misc{rw2019timm," in text
    assert "does not state the licence" in text.split("## Legal Information\n")[1]


@pytest.mark.parametrize("style", ["omz", "hf"])
def test_a_foreign_file_has_a_card_of_what_is_known(style: str, foreign: Path) -> None:
    text = nfexport.card(foreign, style)
    assert "theirs" in text
    assert "name - `image`, type - `float32`, shape - `batch, 3, 8, 8`." in text
    assert "How images become the input is unknown: the file carries no recipe of nfexport." in text
    assert "Its meaning is unknown" in text
    assert "Unknown, except for its producer, tests 1" in text
    assert "nfexport verify theirs.onnx --model NAME" in text
    assert "Mean values" not in text
    assert "bibtex" not in text
    if style == "omz":
        # 112 in the convolution, 725 in the Gemm
        assert "| Type             | unknown |" in text
        assert "| MParams          | 0.0008 |" in text


def test_a_recipe_that_does_not_fit_the_file_is_not_believed(files: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(files["original"])
    model.graph.output[0].name = "renamed"
    model.graph.node[-1].output[0] = "renamed"
    onnx.save(model, tmp_path / "renamed.onnx")
    card = describe(nfexport.inspect(tmp_path / "renamed.onnx"))
    assert card.no_recipe == "the file does not have 'output', which its recipe names"
    for entry in model.metadata_props:
        if entry.key == "nfexport.recipe":
            entry.value = entry.value.replace('"seed":0', '"seed":1')
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(RecipeError, match="does not match its own digest"):
        nfexport.card(tmp_path / "changed.onnx")


def test_labels_are_told_as_far_as_they_are_known(files: dict[str, Path]) -> None:
    facts = nfexport.inspect(files["original"])
    assert facts.recipe is not None

    def said(recipe: Recipe, **fields: Any) -> str | None:
        return describe(dataclasses.replace(facts, recipe=replace(recipe, **fields))).classes

    assert said(facts.recipe) == "ImageNet classes"
    assert said(facts.recipe, labels=("cat", "dog")) == "its 2 classes (cat, dog)"
    assert said(facts.recipe, labels=None) == "1000 classes, whose names the file does not give"

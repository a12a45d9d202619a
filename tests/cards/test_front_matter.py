"""The hub's own library reads the metadata that a card starts with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from huggingface_hub import ModelCard, ModelCardData
from msgspec.structs import replace

import nfexport
from nfexport.cards.composition import describe
from nfexport.cards.document import render
from nfexport.recipe.about import Accuracy
from tests.cards.test_composition import ABOUT, facts_of
from tests.cards.test_markdown import HOSTILE, told


def block_of(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    block: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    read: Any = ModelCard(text).data
    expected: Any = ModelCardData(**dict(block))
    assert read.to_dict() == expected.to_dict()
    return block


def test_a_classifier_of_unknown_origin(files: dict[str, Path]) -> None:
    assert block_of(nfexport.card(files["original"], "hf")) == {
        "tags": ["image-classification", "timm", "onnx"],
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
    }


def test_a_model_of_a_preset(files: dict[str, Path]) -> None:
    block = block_of(render(describe(facts_of(files["converted"], trained=True, about=ABOUT)), "hf"))
    assert block["license"] == "apache-2.0"
    assert block["datasets"] == ["imagenet-1k"]
    assert "model-index" not in block  # a claim is no evaluation


def test_an_evaluation_becomes_a_metric_that_the_hub_reads(files: dict[str, Path]) -> None:
    measured = Accuracy(top1=83.25, top5=96.5, images=50000, dataset="ImageNet-1k")
    facts = dataclasses.replace(facts_of(files["converted"], trained=True, about=ABOUT), evaluation=measured)
    text = render(describe(facts), "hf")
    (entry,) = block_of(text)["model-index"]
    assert entry["name"] == "nfnet-f0"
    data: Any = ModelCard(text).data
    results = data.eval_results
    assert results is not None
    assert [(r.metric_type, r.metric_name, r.metric_value, r.dataset_type) for r in results] == [
        ("accuracy", "Top-1 accuracy (%)", 83.25, "imagenet-1k"),
        ("accuracy", "Top-5 accuracy (%)", 96.5, "imagenet-1k"),
    ]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("GPL-3.0-only", {"license": "other", "license_name": "gpl-3.0-only"}),
    ],
)
def test_licences_have_the_hubs_names(licence: str, expected: dict[str, str], files: dict[str, Path]) -> None:
    about = replace(ABOUT, licence=licence)
    block = block_of(render(describe(facts_of(files["converted"], trained=True, about=about)), "hf"))
    assert {key: value for key, value in block.items() if key.startswith("license")} == expected


def test_a_foreign_file_claims_no_task(foreign: Path) -> None:
    assert block_of(nfexport.card(foreign, "hf")) == {"tags": ["onnx"], "library_name": "onnx"}


def test_a_title_cannot_break_the_block(files: dict[str, Path]) -> None:
    about = replace(ABOUT, title='a: "b" # c', dataset="x: [y")
    facts = dataclasses.replace(facts_of(files["converted"], trained=True, about=about), evaluation=Accuracy(top1=1))
    block = block_of(render(describe(facts), "hf"))
    assert block["model-index"][0]["name"] == 'a: "b" # c'
    assert block["datasets"] == ["x:-[y"]


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_that_is_said_of_a_model_breaks_the_block(value: str, files: dict[str, Path]) -> None:
    text = render(describe(told(nfexport.inspect(files["converted"]), value)), "hf")
    block = block_of(text)
    assert set(block) == {
        *("tags", "library_name", "pipeline_tag", "license", "license_name", "datasets"),
        "model-index",
    }
    assert all("\n" not in block[key] for key in ("license_name", "library_name"))

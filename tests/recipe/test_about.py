"""What is said of a model survives the way into a file's metadata and back."""

from __future__ import annotations

import pytest

from nfexport.errors import RecipeError
from nfexport.recipe.about import (
    ABOUT_KEY,
    About,
    Accuracy,
    read_about,
    read_evaluation,
    write_about,
    write_evaluation,
)

ABOUT = About(
    title="nfnet-f0",
    preset="nfnet-f0",
    form="converted",
    licence="Apache-2.0",
    citations=("arXiv:2102.06171",),
    claimed=Accuracy(top1=83.34, top5=96.56, dataset="ImageNet-1k", source="Open Model Zoo"),
)


def test_about_comes_back_as_it_was() -> None:
    assert read_about(write_about(ABOUT)) == ABOUT
    assert read_about({}) is None


def test_an_evaluation_comes_back_as_it_was() -> None:
    measured = Accuracy(top1=97.5, top5=99.9, images=360)
    assert read_evaluation(write_evaluation(measured)) == measured
    assert read_evaluation({}) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"title":"<b>"}', '{"title":"x","colour":"red"}', '{"summary":"no title"}']
)
def test_an_entry_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(RecipeError, match=r"entry 'nfexport\.about' (is not|holds)"):
        read_about({ABOUT_KEY: text})

"""What a module returns becomes named tensors, and its inputs find their parameters."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch

from nfexport.errors import RecipeError
from nfexport.recipe.tensor_spec import parse_inputs
from nfexport.sources.model.module_call import flatten, match_inputs, output_names
from tests.own_modules import Answer, Small, TwoInputs

A, B, C = (torch.full((2,), float(n)) for n in range(3))
Pair = collections.namedtuple("Pair", ("left", "right"))  # as older code writes it


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (A, ["output"]),
        ((A, B), ["output_0", "output_1"]),
        ([A, (B, C)], ["output_0", "output_1_0", "output_1_1"]),
        ({"logits": A, "loss": None}, ["logits"]),
        ({"maps": [A, B], 3: C}, ["maps_0", "maps_1", "3"]),
        (Answer(score=A, maps=[B]), ["score", "maps_0"]),
        (Pair(A, {"x": B}), ["left", "right_x"]),
    ],
)
def test_containers_are_flattened_in_order(result: Any, names: list[str]) -> None:
    assert [name for name, _ in flatten(result)] == names


def test_anything_else_is_named() -> None:
    with pytest.raises(RecipeError, match="Net returns a str as 'note', not a tensor"):
        list(flatten({"a": A, "note": "text"}, of="Net"))


def test_names_are_fit_for_a_graph_and_unique() -> None:
    assert output_names(["a b", "image", "a/b"], (), ["image"]) == ("a_b", "image_out", "a_b_out")
    assert output_names(["x", "y"], ("p", "q"), ["image"]) == ("p", "q")
    with pytest.raises(RecipeError, match="--output-names has 1 names for the 2 tensors"):
        output_names(["x", "y"], ("p",), [])
    with pytest.raises(RecipeError, match="names a tensor twice"):
        output_names(["x", "y"], ("p", "image"), ["image"])


def test_inputs_are_passed_by_name_or_by_position() -> None:
    both = parse_inputs(["meta=float32[batch,5]", "image=float32[batch,3,8,8]"])
    assert match_inputs(TwoInputs(), both) == ("meta", "image")
    assert match_inputs(TwoInputs(), parse_inputs(["a=float32[1]", "b=float32[1]"])) == (None, None)
    with pytest.raises(RecipeError, match="forward of TwoInputs needs 'meta' too"):
        match_inputs(TwoInputs(), both[1:])
    with pytest.raises(RecipeError, match="takes 1 tensors"):
        match_inputs(Small(), both)

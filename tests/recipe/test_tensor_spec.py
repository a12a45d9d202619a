"""Inputs are described in one line, and read back from the form that recipes keep."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfexport.errors import RecipeError
from nfexport.recipe.second_sizes import second_sizes
from nfexport.recipe.tensor_spec import TensorSpec, parse_input, parse_inputs


def test_an_image_of_fixed_size() -> None:
    spec = parse_input("image=float32[batch,3,224,320]")
    assert spec.shape == ("batch", 3, 224, 320)
    assert spec.sizes == {"batch": 2}
    assert spec.at({"batch": 5}) == (5, 3, 224, 320)


def test_named_dims_have_sizes_to_trace_at() -> None:
    spec = parse_input("x=float32[batch, 1, height:96, width]")
    assert spec.sizes == {"batch": 2, "height": 96, "width": 224}
    assert parse_input("ids=int64[batch,tokens]:0..30521").sizes == {"batch": 2, "tokens": 16}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image", "does not describe an input"),
        ("=float32[1]", "does not describe an input"),
        ("x=float33[1]", "'float33' in 'x=float33[1]' is not an element type"),
        ("x=float32[0]", "'0' in"),
        ("x=float32[a:0]", "'a:0' in"),
        ("x=float32[-1,3]", "'-1' in"),
        ("x=float32[3]:0..5", "not one of whole numbers"),
        ("x=int64[3]:5..0", "not one of whole numbers"),
    ],
)
def test_what_is_no_description_is_named(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words.replace("[", r"\[").replace("]", r"\]")):
        parse_input(text)


def test_one_name_has_one_size() -> None:
    with pytest.raises(RecipeError, match="the size 'n' is 4 in one input and 5 in 'b'"):
        parse_inputs(["a=float32[n:4]", "b=float32[n:5]"])
    with pytest.raises(RecipeError, match="'a' is described twice"):
        parse_inputs(["a=float32[1]", "a=float32[2]"])


def test_the_second_sizes_are_others() -> None:
    specs = parse_inputs(["x=float32[batch,3,height,width]", "ids=int64[batch,tokens]"])
    second = second_sizes(specs)
    assert second["batch"] == 3
    assert second["height"] != second["width"]
    assert all(second[name] != size for spec in specs for name, size in spec.sizes.items())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # beside other tests on a busy machine
@given(
    st.lists(st.one_of(st.integers(1, 999), st.sampled_from(["batch", "n", "height"])), max_size=5),
    st.sampled_from(["float32", "int64", "bool", "uint8"]),
)
def test_the_recipes_form_is_read_back(dims: list[int | str], dtype: str) -> None:
    spec = parse_input(f"x={dtype}[{','.join(map(str, dims))}]")
    assert parse_input(spec.written()) == spec
    assert isinstance(spec, TensorSpec)
    assert not set("<>[]`") & set(spec.written())

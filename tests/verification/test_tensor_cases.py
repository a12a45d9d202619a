"""Inputs of any kind are drawn from the seed alone, within their bounds, one size for one name."""

from __future__ import annotations

import numpy as np

from nfexport.recipe.second_sizes import second_sizes
from nfexport.recipe.tensor_spec import parse_inputs
from nfexport.verification.tensor_cases import tensor_cases

SPECS = parse_inputs(
    [
        "image=float32[batch,3,height:32,width:48]",
        "ids=int64[batch,tokens]:5..9",
        "flags=bool[batch]",
        "scale=float32[]",
    ]
)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two, other = (tensor_cases(SPECS, seed=seed) for seed in (4, 4, 5))
    for left, right in zip(one, two, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(left.arrays, right.arrays, strict=True))
    assert not np.array_equal(one[0].arrays[0], other[0].arrays[0])


def test_types_shapes_and_bounds() -> None:
    for case in tensor_cases(SPECS, [second_sizes(SPECS)], seed=0):
        image, ids, flags, scale = case.arrays
        assert [array.dtype.name for array in case.arrays] == ["float32", "int64", "bool", "float32"]
        assert scale.shape == ()
        assert len(image) == len(ids) == len(flags)
        assert set(np.unique(ids)) <= set(range(5, 10))
    sizes = {case.arrays[0].shape[2:] for case in tensor_cases(SPECS, [second_sizes(SPECS)], seed=0)}
    assert len(sizes) == 2


def test_every_number_of_a_range_is_drawn() -> None:
    (spec,) = parse_inputs(["ids=int64[batch,200]:5..9"])
    drawn = np.concatenate([case.arrays[0].reshape(-1) for case in tensor_cases([spec], seed=0)])
    assert set(drawn.tolist()) == {5, 6, 7, 8, 9}


def test_entries_count_as_a_batch_only_where_every_input_has_them() -> None:
    assert {case.batch for case in tensor_cases(SPECS[:3], seed=0)} == {1, 2, 3}
    assert {case.batch for case in tensor_cases(SPECS, seed=0)} == {1}
    fixed = parse_inputs(["x=float32[2,4]"])
    assert {case.batch for case in tensor_cases(fixed, seed=0)} == {1}

from __future__ import annotations

from pathlib import Path

import nfexport
from nfexport.passes import ORDER
from nfexport.recipe.interface import keeps_weights
from nfexport.recipe.speed import REWRITES, Speed


def test_optimize_asks_for_all_and_each_can_be_left_out_or_asked_for_alone() -> None:
    assert Speed().names("fold-ws") == ()
    assert Speed(optimize=True).names("fold-ws") == ("fold-ws", *REWRITES)
    assert Speed(optimize=True, merge_groups=False).names() == REWRITES[1:]
    assert Speed(merge_pads=True).names("fold-ws") == ("merge-pads",)
    assert set(REWRITES) <= set(ORDER)


def test_an_optimised_export_records_what_was_done_and_is_verified(tmp_path: Path) -> None:
    result = nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=11, image_size=96, optimize=True)
    assert {step.name for step in result.recipe.passes} >= {"fold-ws", "fold-scales", *REWRITES}
    assert result.verification is not None
    assert result.verification.passed
    assert "ReduceMean" not in result.facts.operator_counts
    assert not keeps_weights(result.recipe)


def test_surgery_does_the_same_to_a_file(tmp_path: Path) -> None:
    plain = nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=17, image_size=96, verify=False)
    assert not set(REWRITES) & {step.name for step in plain.recipe.passes}
    result = nfexport.surgery(tmp_path / "m.onnx", tmp_path / "o.onnx", optimize=True)
    assert set(REWRITES) <= {step.name for step in result.steps}
    assert result.verification is not None
    assert result.verification.passed
    assert result.facts is not None
    assert result.facts.computed_conv_weights == 0

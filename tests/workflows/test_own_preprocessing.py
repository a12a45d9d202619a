"""What a user knows better than timm's configuration goes into the recipe, and into what the file does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import RecipeError
from nfexport.images.preprocessor import preprocessor_of
from nfexport.recipe.recipe import Preprocessing

OWN = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "crop_pct": 0.8, "crop_mode": "squash"}


def test_the_recipe_tells_how_the_weights_want_their_pictures(tmp_path: Path) -> None:
    result = nfexport.export("test_nfnet", tmp_path / "own.onnx", network=OWN, verify=False)
    pre = result.recipe.preprocessing
    assert (pre.mean, pre.std, pre.crop_pct, pre.crop_mode) == tuple(OWN.values())
    assert pre.interpolation == "bicubic"


def test_a_file_that_normalises_does_so_by_the_networks_own_numbers(tmp_path: Path) -> None:
    options: dict[str, Any] = {"network": OWN, "num_classes": 7, "image_size": 64}
    plain = nfexport.export("test_nfnet", tmp_path / "plain.onnx", **options)
    whole = nfexport.export("test_nfnet", tmp_path / "whole.onnx", normalize="nodes", input_range=255, **options)
    assert whole.recipe.preprocessing.mean == (0.0, 0.0, 0.0)
    from nfexport.runtimes import open_session

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    outside, inside = (
        open_session(r.path).run({"input": preprocessor_of(r.recipe).batch([pixels])})["output"]
        for r in (plain, whole)
    )
    # float32 rounding of another order of the same arithmetic
    np.testing.assert_allclose(inside, outside, rtol=0, atol=1e-5 * float(np.ptp(outside)))


def test_labels_go_into_the_recipe(tmp_path: Path) -> None:
    names = [f"kind {n}" for n in range(7)]
    result = nfexport.export("test_nfnet", tmp_path / "a.onnx", num_classes=7, labels=names, verify=False)
    assert result.recipe == nfexport.inspect(result.path).recipe
    assert result.recipe.labels == tuple(names)
    with pytest.raises(RecipeError, match="there are 7 labels for the 6 classes of test_nfnet"):
        nfexport.export("test_nfnet", tmp_path / "b.onnx", num_classes=6, labels=names)


def test_labels_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    target = tmp_path / "a.onnx"
    options = ["--num-classes", "2", "--labels", str(tmp_path / "names.txt"), "--no-verify", "-q"]
    assert run(["test_nfnet", "-o", str(target), *options]) == 0
    recipe = nfexport.inspect(target).recipe
    assert recipe is not None
    assert recipe.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network-std", "0,1,1"], "a standard deviation must be above 0"),
        (["--network-mean", "0.5"], "the network's mean has 1 numbers for 3 channels"),
        (["--crop-pct", "1.5"], "a crop of 1.5 of the image is not possible"),
    ],
)
def test_what_no_picture_can_be_prepared_with_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test_nfnet", "-o", str(tmp_path / "a.onnx"), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [{}, {"normalize": "nodes", "input_dtype": "uint8"}, {"resize": "any", "normalize": "nodes", "opset": 18}],
    ids=["outside", "inside", "resized"],
)
def test_verify_feeds_what_the_recipes_network_sees(options: dict[str, Any], tmp_path: Path) -> None:
    """By timm's own statistics the images would come out as others, or be cut off at a byte."""
    network = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "crop_pct": 0.8, "crop_mode": "squash"}
    path = tmp_path / "own.onnx"
    result = nfexport.export("test_nfnet", path, network=network, num_classes=7, image_size=64, **options)
    seen: list[Preprocessing] = []
    again = nfexport.verify(path, observe=lambda subject, case, reference: seen.append(subject.preprocessing))
    assert seen
    for pre in seen:
        assert {name: getattr(pre, name) for name in network} == network
    assert again.passed
    # to the last digit: the same batches were compared
    assert result.verification is not None
    assert again.reports[0].cases == result.verification.cases

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

OWN: dict[str, Any] = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "crop_pct": 0.8, "crop_mode": "squash"}


def test_the_recipe_tells_how_the_weights_want_their_pictures(tmp_path: Path) -> None:
    result = nfexport.export("test_nfnet", tmp_path / "own.onnx", **OWN, verify=False)
    pre = result.recipe.preprocessing
    assert (pre.mean, pre.std, pre.crop_pct, pre.crop_mode) == tuple(OWN.values())
    assert pre.interpolation == "bicubic"


def test_a_file_that_normalises_does_so_by_the_networks_own_numbers(tmp_path: Path) -> None:
    options: dict[str, Any] = {**OWN, "num_classes": 7, "image_size": 64}
    plain = nfexport.export("test_nfnet", tmp_path / "plain.onnx", verify=False, **options)
    whole = nfexport.export(
        "test_nfnet", tmp_path / "whole.onnx", verify=False, normalize="nodes", input_range=255, **options
    )
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
        (["--mean", "0,0,0", "--std", "0,1,1"], "a standard deviation must be above 0"),
        (["--mean", "0.5", "--std", "0.5"], "--mean and --std have 1 numbers for 3 channels"),
        (["--mean", "0.5,0.5,0.5"], "--mean and --std belong together"),
        (
            ["--mean", "0.485,0.456,0.406", "--std", "58.395,57.12,57.375"],
            "looks like 0..1 and --std 58.395 like 0..255",
        ),
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
    [
        {},
        {"normalize": "nodes", "input_dtype": "uint8"},
        pytest.param(
            {"resize": "any", "normalize": "nodes", "opset": 18, "exporter": "torchscript"}, marks=pytest.mark.slow
        ),
    ],
    ids=["outside", "inside", "resized"],
)
def test_verify_feeds_what_the_recipes_network_sees(options: dict[str, Any], tmp_path: Path) -> None:
    """By timm's own statistics the images would come out as others, or be cut off at a byte."""
    network: dict[str, Any] = {
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "crop_pct": 0.8,
        "crop_mode": "squash",
    }
    path = tmp_path / "own.onnx"
    result = nfexport.export("test_nfnet", path, num_classes=7, image_size=64, **network, **options)
    seen: list[Preprocessing] = []
    again = nfexport.verify(path, observe=lambda subject, case, reference: seen.append(subject.preprocessing))  # type: ignore[attr-defined]
    assert seen
    for pre in seen:
        assert {name: getattr(pre, name) for name in network} == network
    assert again.passed
    # to the last digit: the same batches were compared
    assert result.verification is not None
    assert again.reports[0].cases == result.verification.cases


def test_the_old_names_of_mean_and_std_say_what_replaces_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statistics = ["--network-mean", "0.1,0.2,0.3", "--network-std", "0.4,0.5,0.6"]
    old, new = tmp_path / "old.onnx", tmp_path / "new.onnx"
    assert run(["test_nfnet", "--image-size", "64", "-o", str(old), *statistics, "--no-verify", "-q"]) == 0
    error = capsys.readouterr().err
    assert "--network-mean is deprecated; use --mean" in error
    assert "--network-std is deprecated; use --std" in error
    renamed = [word.replace("--network-", "--") for word in statistics]
    assert run(["test_nfnet", "--image-size", "64", "-o", str(new), *renamed, "--no-verify", "-q"]) == 0
    assert new.read_bytes() == old.read_bytes()
    assert run(["test_nfnet", *statistics, *renamed, "-o", str(tmp_path / "both.onnx")]) == 2
    assert "--network-mean is an old name of --mean" in capsys.readouterr().err


@pytest.mark.slow
def test_mean_and_std_are_what_the_network_was_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that normalises by them leaves nothing of them to its caller, in either unit."""
    byte = {"mean": (127.5, 102.0, 76.5), "std": (51.0, 63.75, 76.5)}
    for number, statistics in enumerate((OWN, byte)):
        target = tmp_path / f"{number}.onnx"
        result = nfexport.export(
            "test_nfnet",
            target,
            normalize="nodes",
            num_classes=7,
            image_size=64,
            mean=statistics["mean"],
            std=statistics["std"],
            verify=number == 0,
        )
        pre = result.recipe.preprocessing
        assert (pre.mean, pre.std, pre.value_range) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 1.0))
    words = ["--mean", "127.5,102,76.5", "--std", "51,63.75,76.5", "--image-size", "64", "--no-verify"]
    assert run(["test_nfnet", *words, "-o", str(tmp_path / "shown.onnx")]) == 0
    assert "mean 0.5/0.4/0.3, std 0.2/0.25/0.3" in capsys.readouterr().out

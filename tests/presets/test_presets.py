"""Presets: those that are shipped say what the documents say; a mistake in one of the user's is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import PresetError, RecipeError
from nfexport.presets import find_preset, list_presets
from nfexport.presets.preset_file import read_preset
from nfexport.workflows.preset import are_documented

OWN = """\
title = "mine"
model = "test_nfnet"
image_size = [64, 64]
opset = 11
outputs = ["probs"]
num_classes = 3
labels = ["cat", "dog", "owl"]

[names]
input = "picture"
probs = "chances"

[images]
mean = [127.5, 102, 76.5]
scale = [51, 63.75, 76.5]
resize = 73
crop_mode = "squash"

[claimed]
top1 = 90.5
"""


def test_the_four_documented_models_are_shipped() -> None:
    facts = {p.name: (p.model, p.image_size, p.opset, p.batch) for p in list_presets()}
    assert facts == {
        "nfnet-f0": ("dm_nfnet_f0", (256, 256), 11, 1),
        "efficientnet-b0-pytorch": ("efficientnet_b0", (224, 224), 11, 1),
        "nfnet_l0.ra2_in1k": ("nfnet_l0", (224, 224), 17, "dynamic"),
        "migraphx-nfnet": ("dm_nfnet_f0", (192, 192), 11, "dynamic"),
    }


@pytest.mark.parametrize(("name", "resize"), [("nfnet-f0", 284), ("efficientnet-b0-pytorch", 256)])
def test_the_share_of_the_crop_gives_the_documented_resize(name: str, resize: int) -> None:
    preset = find_preset(name)
    share = preset.export_options("original")["crop_pct"]
    assert int(preset.image_size[0] / share) == resize


def test_means_and_scales_are_those_of_timm_to_the_digit() -> None:
    for preset in list_presets():
        network = preset.export_options("original")
        assert (network["mean"], network["std"]) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(OWN)
    return tmp_path


def test_a_preset_of_ones_own_is_exported_by_its_names(folder: Path) -> None:
    result = nfexport.export_preset("mine", folder / "mine.onnx", form="converted", folders=[folder], to="openvino")
    facts = result.facts
    assert [(t.name, t.shape) for t in (*facts.inputs, *facts.outputs)] == [
        ("picture", ("batch", 3, 64, 64)),
        ("chances", ("batch", 3)),
    ]
    pre = result.recipe.preprocessing
    assert (pre.channel_order, pre.value_range, pre.mean, pre.std) == ("bgr", (0.0, 255.0), (0.0,) * 3, (1.0,) * 3)
    assert (pre.crop_mode, int(64 / pre.crop_pct)) == ("squash", 73)
    assert result.recipe.labels == ("cat", "dog", "owl")
    about = nfexport.inspect(result.path).about
    assert about is not None
    assert (about.title, about.preset, about.form) == ("mine", "mine", "converted")
    assert about.claimed is not None
    assert about.claimed.top1 == 90.5
    original = nfexport.export_preset("mine", folder / "o.onnx", folders=[folder], verify=False).recipe.preprocessing
    assert (original.channel_order, original.mean, original.std) == ("rgb", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def test_a_preset_of_ones_own_hides_the_shipped_one(folder: Path) -> None:
    (folder / "nfnet-f0.toml").write_text(OWN)
    assert find_preset("nfnet-f0", [folder]).title == "mine"
    assert find_preset("nfnet-f0").title == "nfnet-f0"


def test_a_checkpoint_is_known_by_its_checksum(folder: Path) -> None:
    from hashlib import sha256

    weights = folder / "weights.pth"
    weights.write_bytes(b"abc")
    assert are_documented(find_preset("mine", [folder]), weights) is None
    (folder / "mine.toml").write_text(OWN + f'\n[weights]\nsha256 = "{sha256(b"abc").hexdigest()}"\n')
    assert are_documented(find_preset("mine", [folder]), weights) is True
    weights.write_bytes(b"abd")
    assert are_documented(find_preset("mine", [folder]), weights) is False


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(PresetError, match=r"there is no preset 'nfnet_f0'; use one of nfnet-f0, "):
        find_preset("nfnet_f0")
    with pytest.raises(PresetError, match=r"there is no folder '/nowhere'"):
        find_preset("nfnet-f0", [Path("/nowhere")])


def test_weights_that_timm_does_not_have_are_named() -> None:
    with pytest.raises(RecipeError, match=r"fetch efficientnet_b0-d6904d92\.pth, and pass it with --checkpoint"):
        nfexport.export_preset("efficientnet-b0-pytorch", pretrained=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("opset = 11", "opset = 11\nopsets = 12", r"line 5, key 'opsets': the key is unknown; use one of title"),
        ("opset = 11", 'opset = "11"', r"line 4, key 'opset': it has to be a whole number, not text"),
        ("opset = 11", "opset = true", r"line 4, key 'opset': it has to be a whole number, not true or false"),
        ("opset = 11", "opset = 3", r"line 4, key 'opset': "),
        ("opset = 11\n", "", r"': the key 'opset' is missing; add it"),
        ("opset = 11", "opset = [", r"is not TOML \(.*line"),
        ('"mine"', '" "', r"line 1, key 'title': it has to be text that is not blank"),
        ("[64, 64]", "[64, 64, 3]", r"line 3, key 'image_size': it has to be a list of length 2, not 3"),
        ("[64, 64]", "[64, 0]", r"line 3, key 'image_size\[2\]': it has to be a whole number >= 1"),
        (
            "resize = 73",
            "resize = 63",
            r"line 16, key 'images.resize': an image of 63 pixels is smaller than its crop",
        ),
        ("scale = [51, ", "scale = [", r"line 15, key 'images.scale': there are 3 means and 2 scales"),
        ("63.75, ", "0, ", r"line 15, key 'images.scale\[2\]': it has to be a number > 0"),
        ("63.75, ", "nan, ", r"line 15, key 'images.scale\[2\]': it has to be a number > 0"),
        ("63.75, ", "inf, ", r"line 15, key 'images.scale\[2\]': it has to be a number <= 1000000000"),
        (
            "mean = [127.5, 102, 76.5]\nscale = [51, 63.75, 76.5]",
            "mean = [0.5]\nscale = [0.5]",
            r"for pixels in 0..255",
        ),
        (
            '"squash"',
            '"middle"',
            r"line 17, key 'images.crop_mode': 'middle' is unknown; use one of border, center, s",
        ),
        ('["probs"]', '["odds"]', r"line 5, key 'outputs\[1\]': 'odds' is unknown; use one of embedding"),
        ('["probs"]', '["probs", "probs"]', r"line 5, key 'outputs': an output is named twice"),
        (
            "opset = 11",
            'opset = 11\ndefault_form = "odd"',
            r"line 5, key 'default_form': 'odd' is unknown; use one of",
        ),
        ("num_classes = 3", "num_classes = 4", r"line 7, key 'labels': there are 3 labels for 4 classes"),
        ("probs =", "logits =", r"line 11, key 'names.logits': the preset has no output 'logits'"),
        ('"chances"', '"picture"', r"key 'names.input': two tensors are named 'picture'"),
        ("top1 = 90.5", "top1 = 90.5\ntop5 = 80", r"line 21, key 'claimed.top5': top-5 of 80 is below top-1 of 90.5"),
        ("top1 = 90.5", "top1 = 905", r"line 20, key 'claimed.top1': it has to be a number <= 100"),
        ("[claimed]", "[claims]", r"line 19, key 'claims': the key is unknown; use one of "),
        ("opset = 11", 'opset = 11\ncheckpoint = "w.pth"', r"line 5, key 'checkpoint': there is no file"),
        (
            "[claimed]",
            '[weights]\nsha256 = "0"\n[claimed]',
            r"line 20, key 'weights.sha256': it has to be text match",
        ),
    ],
)
def test_a_mistake_is_named_by_line_and_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in OWN
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(PresetError, match=message):
        read_preset(path)


def test_the_command_lists_shows_and_refuses(folder: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    assert run(["preset", "list", "--preset-dir", str(folder)]) == 0
    assert {"mine", "nfnet-f0", "migraphx-nfnet"} <= set(capsys.readouterr().out.split())
    assert run(["preset", "show", "nfnet-f0"]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("image [1, 3, 256, 256]", "123.675, 116.28, 103.53", "83.34 %"))
    assert run(["preset", "export", "nope"]) == 2
    assert "there is no preset 'nope'" in capsys.readouterr().err


def test_brackets_in_a_preset_are_shown_as_they_are(folder: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    (folder / "mine.toml").write_text(OWN.replace('"mine"', '"[red]mine[/]"'))
    assert run(["preset", "show", "mine", "--preset-dir", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "[red]mine[/]" in shown


@pytest.mark.parametrize(
    ("old", "new"), [('"chances"', '"[bold]chances"'), ('"mine"', '"<b>"'), ('"mine"', '"\\u001b[31m"')]
)
def test_control_characters_and_markup_are_refused(old: str, new: str, folder: Path) -> None:
    (folder / "mine.toml").write_text(OWN.replace(old, new))
    with pytest.raises(PresetError, match=r"mine\.toml' holds a string with control characters or markup"):
        find_preset("mine", [folder])

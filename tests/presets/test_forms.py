"""The two forms of a documented model, in ONNX Runtime and in OpenVINO: one picture, one answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import nfexport
from nfexport.images.preprocessor import preprocessor_of
from nfexport.presets import FORMS, find_preset
from nfexport.runtimes import open_session
from nfexport.sources import ModelSpec, load

MEAN, SCALE = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is no square, with edges, colours and grain."""
    dice = np.random.default_rng(0)
    y, x = np.mgrid[:300, :400]
    base = np.stack([y * 0.85, x * 0.6, 255.0 * ((x // 40 + y // 30) % 2)], axis=-1)
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.fromarray(np.clip(base + dice.normal(0, 10, base.shape), 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "interface", "resize"),
    [
        ("efficientnet-b0-pytorch", ("data", (1, 3, 224, 224), "prob", (1, 1000)), 256),
        ("nfnet-f0", ("image", (1, 3, 256, 256), "probs", (1, 1000)), 284),
    ],
)
def test_both_forms_give_the_same_probabilities_everywhere(
    name: str, interface: tuple[object, ...], resize: int, picture: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(load(ModelSpec(name=find_preset(name).model, seed=7)).module.state_dict(), weights)
    side = int(interface[1][2])  # type: ignore[index]
    with Image.open(picture) as opened:
        scaled = opened.resize((int(resize * 400 / 300), resize), Image.Resampling.BICUBIC)
    left, top = round((scaled.width - side) / 2), round((scaled.height - side) / 2)
    rgb = np.asarray(scaled.crop((left, top, left + side, top + side)), np.float64)
    by_hand = {
        "original": ((rgb - MEAN) / SCALE).astype(np.float32).transpose(2, 0, 1)[None],
        "converted": np.ascontiguousarray(rgb[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)),
    }
    answers = {}
    for form in FORMS:
        target = tmp_path / f"{form}.onnx"
        result = nfexport.export_preset(
            name, target, form=form, checkpoint=weights, to="openvino", verify=form == "converted"
        )
        (entry,), (output,) = result.facts.inputs, result.facts.outputs
        assert (entry.name, entry.shape, output.name, output.shape) == interface
        fed = preprocessor_of(result.recipe).batch([preprocessor_of(result.recipe).read(picture)])
        # the recipe prepares the picture as the document does, but for the rounding of (pixel − mean) / scale
        np.testing.assert_allclose(fed, by_hand[form], rtol=0, atol=1e-6)
        for runtime, file in (("onnxruntime", target), ("openvino", target.with_suffix(".xml"))):
            answers[form, runtime] = open_session(file, runtime=runtime).run({entry.name: by_hand[form]})[output.name]
    first = answers["original", "onnxruntime"]
    assert first.min() >= 0
    assert first.sum() == pytest.approx(1, abs=1e-5)  # a thousand float32 numbers
    assert first.max() > 2 / 1000, "the weights tell no class from another"
    for answer in answers.values():
        np.testing.assert_allclose(answer, first, rtol=0, atol=1e-4 * float(first.max()))

"""The programs in a card run with ONNX Runtime, numpy and Pillow alone, and compute what PyTorch computes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

import nfexport
from nfexport.cards.snippet import runs_on_images
from nfexport.images.preprocessor import preprocessor_of
from nfexport.recipe.recipe import Recipe
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.torchvision_operators import import_timm
from tests.cards.conftest import FORMS

import_timm()
OTHERS = ("torch", "timm", "torchvision", "nfexport", "onnx", "cv2")


def write_image(height: int, width: int, folder: Path) -> Image.Image:
    """Write an image with slopes, an edge and noise, and return what is in the file, decoded."""
    rng = np.random.default_rng(height + width)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([y * 255 / height, x * 255 / width, (x > width / 3) * 200.0], axis=-1)
    array = np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
    Image.fromarray(array).save(folder / "image.jpg")
    return Image.open(folder / "image.jpg").convert("RGB")


def programs(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def run_program(code: str, folder: Path, result: str) -> tuple[np.ndarray, str]:
    """Run it where nothing but installed packages is found; return an array that it computed, and what it printed."""
    check = f"\nimport sys\nassert not {set(OTHERS)!r} & set(sys.modules)\nnp.save('result.npy', {result})\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code + check], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "result.npy"), done.stdout


def expected(name: str, image: Image.Image) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the model, and what timm's own evaluation transform makes of the image."""
    from timm.data import create_transform

    options = FORMS[name]
    size = options.get("image_size", 96)
    loaded = load(ModelSpec(name="test_nfnet", image_size=size, seed=options.get("seed", 0)))
    pre = loaded.preprocessing
    transform = create_transform(
        (3, *loaded.image_size),
        mean=pre.mean,
        std=pre.std,
        crop_pct=pre.crop_pct,
        crop_mode=pre.crop_mode,
        interpolation=pre.interpolation,
    )
    return loaded.module, transform(image)[None]


def linked(file: Path, folder: Path) -> Path:
    (folder / file.name).symlink_to(file)
    return folder / file.name


@pytest.mark.parametrize("name", ["original", "converted", "features", "odd"])
def test_probabilities_are_those_of_pytorch(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    image = write_image(123, 170, tmp_path)
    code = programs(nfexport.card(linked(files[name], tmp_path)))[0]
    given, printed = run_program(code, tmp_path, "probabilities")
    module, tensor = expected(name, image)
    with torch.inference_mode():
        wanted = module(tensor).softmax(-1).numpy()
        channels_swapped = module(tensor.flip(1)).softmax(-1).numpy()
    assert len(given) == FORMS[name].get("batch", 1)
    # float32, summed in another order, costs 1e-6 of the range (the float16 file is fed whole numbers, which it
    # holds exactly); one wrong step of the preparation costs far more
    assert np.abs(given - wanted).max() < 1e-5 * np.ptp(wanted)
    assert np.abs(given - channels_swapped).max() > 1e-3 * np.ptp(wanted)
    assert f"class {wanted[0].argmax()}: " in printed


def test_a_file_that_resizes_gives_the_best_classes(files: dict[str, Path], tmp_path: Path) -> None:
    # 101 = ⌊96 / 0.95⌋: nothing is left to resize, where the graph may be a level of 255 off Pillow
    image = write_image(101, 140, tmp_path)
    (code,) = programs(nfexport.card(linked(files["pixels"], tmp_path)))
    given, printed = run_program(code, tmp_path, "given['topk_values']")
    module, tensor = expected("pixels", image)
    with torch.inference_mode():
        probabilities = module(tensor).softmax(-1)
    wanted = probabilities.topk(3)
    # as above: what float32 costs, against the range of all probabilities
    assert np.abs(given - wanted.values.numpy()).max() < 1e-5 * np.ptp(probabilities.numpy())
    shown = [int(number) for number in re.findall(r"class (\d+):", printed)]
    assert shown == wanted.indices[0].tolist()


def test_feature_maps_and_embeddings_have_programs_of_their_own(files: dict[str, Path], tmp_path: Path) -> None:
    image = write_image(150, 100, tmp_path)
    _, maps, embeddings = programs(nfexport.card(linked(files["features"], tmp_path), "hf"))
    module, tensor = expected("features", image)
    with torch.inference_mode():
        unpooled = module.forward_features(tensor)  # type: ignore[operator]
        pooled = module.forward_head(unpooled, pre_logits=True).numpy()  # type: ignore[operator]
    given, printed = run_program(embeddings, tmp_path, "given['embedding']")
    np.testing.assert_allclose(given, pooled, atol=1e-5 * np.ptp(pooled))  # as above
    assert printed.split("\n")[:2] == ["embedding (1, 192)", "embedding_unpooled (1, 192, 3, 3)"]
    _, printed = run_program(maps, tmp_path, "0")
    assert printed.split("\n")[:2] == ["features_1 (1, 32, 24, 24)", "features_3 (1, 96, 6, 6)"]


def test_both_styles_show_the_same_programs(files: dict[str, Path]) -> None:
    for file in files.values():
        assert programs(nfexport.card(file, "omz")) == programs(nfexport.card(file, "hf"))


def test_a_foreign_file_is_fed_zeros(foreign: Path, tmp_path: Path) -> None:
    (code,) = programs(nfexport.card(foreign))
    _, printed = run_program(code, tmp_path, "0")
    assert printed == "out (1, 5)\n"


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop_pct", [0.875, 1.0, 1.1])
@pytest.mark.parametrize("size", [(96, 96), (96, 64)])
def test_every_preparation_is_written_out(
    crop_mode: str, crop_pct: float, size: tuple[int, int], files: dict[str, Path], tmp_path: Path
) -> None:
    """Against nfexport.images, which its own tests hold against timm."""
    recipe = changed(files["original"], size, crop_mode=crop_mode, crop_pct=crop_pct, interpolation="bilinear")
    form = preprocessor_of(recipe)
    (run,), _ = runs_on_images(recipe, "m.onnx")
    start = run.code.partition("session =")[0].replace("image.jpg", str(tmp_path / "image.jpg"))
    for height, width in ((70, 93), (201, 57), (96, 96), (31, 40)):
        image = write_image(height, width, tmp_path)
        found: dict[str, np.ndarray] = {}
        exec(start, found)
        # two float32 roundings of the same level
        np.testing.assert_allclose(found["tensor"], form.batch([form.pixels(image)]), atol=1e-6)


def test_a_network_of_grey_images(files: dict[str, Path], tmp_path: Path) -> None:
    recipe = changed(files["original"], (96, 96), mean=(0.1307,), std=(0.3081,))
    recipe = replace(recipe, stored_in_channels=1)
    (run,), _ = runs_on_images(recipe, "m.onnx")
    write_image(120, 100, tmp_path)
    found: dict[str, np.ndarray] = {}
    exec(run.code.partition("session =")[0].replace("image.jpg", str(tmp_path / "image.jpg")), found)
    form = preprocessor_of(recipe)
    wanted = form.batch([form.read(tmp_path / "image.jpg")])
    np.testing.assert_allclose(found["tensor"], wanted, atol=1e-6)  # two float32 roundings
    assert wanted.shape == (1, 1, 96, 96)


def test_what_pillow_cannot_feed_has_a_reason(files: dict[str, Path]) -> None:
    recipe = changed(files["original"], (96, 96))
    four = replace(recipe, stored_in_channels=4)
    assert runs_on_images(four, "m.onnx") == ((), "images have 1 or 3 channels, and the file has 4")
    _, reason = runs_on_images(changed(files["original"], (96, 96), dtype="uint8"), "m.onnx")
    assert reason is not None
    assert "uint8 cannot hold normalised values" in reason


def changed(file: Path, size: tuple[int, int], **fields: Any) -> Recipe:
    recipe = nfexport.inspect(file).recipe
    assert recipe is not None
    preprocessing = replace(recipe.preprocessing, **fields)
    return replace(recipe, stored_image_size=size, stored_preprocessing=preprocessing)

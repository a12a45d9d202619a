"""An image goes to the file as timm's own evaluation transform would send it, to the bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from nfexport.errors import ImageError, RecipeError
from nfexport.images.decoder import decode
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.recipe.export_options import ExportOptions, Source
from nfexport.recipe.interface import callers_part
from nfexport.recipe.recipe import CropMode, Interpolation, PassStep, Preprocessing, Recipe, Weights
from nfexport.sources.timm.torchvision_operators import import_timm

import_timm()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def drawn_image(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """A smooth image with an edge and some noise."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([y * 255 / height, x * 255 / width, (x > width / 3) * 200.0], axis=-1)
    array = np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(array).convert(mode)


def preprocessing(crop_pct: float, crop_mode: CropMode, interpolation: Interpolation) -> Preprocessing:
    return Preprocessing(mean=MEAN, std=STD, crop_pct=crop_pct, crop_mode=crop_mode, interpolation=interpolation)


def timms(pre: Preprocessing, size: tuple[int, int], image: Image.Image) -> np.ndarray:
    from timm.data import create_transform

    transform = create_transform(
        (3, *size),
        is_training=False,
        mean=pre.mean,
        std=pre.std,
        crop_pct=pre.crop_pct,
        crop_mode=pre.crop_mode,
        interpolation=pre.interpolation,
    )
    return np.asarray(transform(image))


def ours(pre: Preprocessing, size: tuple[int, int], image: Image.Image) -> np.ndarray:
    preprocessor = Preprocessor(
        input_name="input",
        size=size,
        channels=3,
        preprocessing=pre,
        fill=tuple(round(255 * mean) for mean in pre.mean),
    )
    (array,) = preprocessor.batch([preprocessor.pixels(image)])
    return np.asarray(array)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(64, 64), (64, 48)])
def test_equals_timms_transform(crop_mode: CropMode, interpolation: Interpolation, size: tuple[int, int]) -> None:
    for crop_pct in (0.875, 0.9, 1.0):
        for height, width in ((70, 93), (201, 57), (64, 64), (31, 40), (73, 72)):
            pre, image = preprocessing(crop_pct, crop_mode, interpolation), drawn_image(height, width)
            np.testing.assert_array_equal(ours(pre, size, image), timms(pre, size, image))


def test_the_documents_resize_is_that_of_the_shorter_side_to_284() -> None:
    pre = preprocessing(0.9, "center", "bicubic")
    image = drawn_image(300, 400)
    by_hand = image.resize((int(284 * 400 / 300), 284), Image.Resampling.BICUBIC)
    left = round((by_hand.width - 256) / 2)
    by_hand = by_hand.crop((left, 14, left + 256, 270))
    preprocessor = Preprocessor(input_name="i", size=(256, 256), channels=3, preprocessing=pre)
    np.testing.assert_array_equal(preprocessor.pixels(image), np.asarray(by_hand))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_are_converted_as_timm_does(mode: str, channels: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(0, 64 * 64 * 16, 16, dtype=np.uint16).reshape(64, 64))
        assert image.mode == "I;16"
    else:
        image = drawn_image(64, 64, mode)
    suffix = "tiff" if mode in ("CMYK", "YCbCr", "F", "I", "I;16", "LA") else "png"
    file = io.BytesIO()
    image.save(file, suffix)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        expected = np.asarray(opened.convert("RGB" if channels == 3 else "L"))
    np.testing.assert_array_equal(np.asarray(decode(file.getvalue(), channels=channels)), expected)


def test_an_exif_rotation_is_ignored_as_timm_ignores_it(tmp_path: Path) -> None:
    image = drawn_image(40, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert decode(tmp_path / "turned.png").size == (60, 40)


def test_what_cannot_be_decoded_names_the_file_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_image(64, 64).save(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match=r"cut\.jpg' cannot be decoded \(.*[Tt]runcated"):
        decode(tmp_path / "cut.jpg")
    with pytest.raises(ImageError, match=r"text\.png' is not an image that Pillow can read; convert"):
        decode(tmp_path / "text.png")
    with pytest.raises(ImageError, match=r"there is no image '.*none\.png'"):
        decode(tmp_path / "none.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 3)
    with pytest.raises(ImageError, match=r"has more than 2,730 pixels, which Pillow refuses"):
        decode(tmp_path / "a.jpg")


def recipe(**changes: object) -> Recipe:
    base = Recipe(
        source=Source(model="test_nfnet"),
        options=ExportOptions(),
        architecture="test_nfnet",
        weights=Weights(kind="seeded", digest="0" * 64, seed=0),
        stored_image_size=(64, 64),
        stored_in_channels=3,
        num_classes=10,
        batch="dynamic",
        opset=17,
        exporter="torchscript",
        passes=(),
        input_name="input",
        outputs=(),
        stored_preprocessing=preprocessing(0.9, "center", "bicubic"),
        labels=None,
        versions={},
    )
    return replace(base, **changes)


def with_steps(pre: Preprocessing, *steps: PassStep) -> Recipe:
    return recipe(passes=steps, stored_preprocessing=callers_part(pre, steps))


NORMALIZE = PassStep(name="normalize", params={"mean": MEAN, "std": STD, "value_range": 255.0, "fold": False})
BGR = PassStep(name="channels", params={"order": "bgr"})


def test_bytes_in_bgr_are_the_pixels_themselves() -> None:
    bytes_last = PassStep(name="input-form", params={"dtype": "uint8", "layout": "nhwc"})
    preprocessor = preprocessor_of(with_steps(preprocessing(0.9, "center", "bicubic"), NORMALIZE, BGR, bytes_last))
    pixels = preprocessor.pixels(drawn_image(90, 80))
    batch = preprocessor.batch([pixels, pixels])
    assert (batch.dtype, batch.shape) == (np.dtype(np.uint8), (2, 64, 64, 3))
    np.testing.assert_array_equal(batch[1], pixels[..., ::-1])


def test_floats_in_0_255_are_whole_numbers() -> None:
    preprocessor = preprocessor_of(with_steps(preprocessing(0.9, "center", "bicubic"), NORMALIZE))
    pixels = preprocessor.pixels(drawn_image(90, 80))
    batch = preprocessor.batch([pixels])
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[0].transpose(1, 2, 0), pixels)


def test_borders_have_the_networks_mean_though_the_file_subtracts_it() -> None:
    preprocessor = preprocessor_of(with_steps(preprocessing(1.0, "border", "bicubic"), NORMALIZE, BGR))
    assert preprocessor.fill == (124, 116, 104)
    assert tuple(preprocessor.pixels(drawn_image(32, 64))[0, 0]) == (124, 116, 104)


def test_a_file_that_resizes_gets_the_image_as_it_is() -> None:
    params = {"crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic", "from_size": None}
    resize = PassStep(name="resize", params=params)
    preprocessor = preprocessor_of(with_steps(preprocessing(0.9, "center", "bicubic"), NORMALIZE, resize))
    assert preprocessor.pixels(drawn_image(33, 44)).shape == (33, 44, 3)
    fixed = PassStep(name="resize", params=params | {"from_size": [100, 120]})
    preprocessor = preprocessor_of(with_steps(preprocessing(0.9, "center", "bicubic"), NORMALIZE, fixed))
    with pytest.raises(ImageError, match="has 33×44 pixels, the file takes only 100×120"):
        preprocessor.pixels(drawn_image(33, 44))


def test_bytes_that_would_have_to_be_normalised_are_refused() -> None:
    only_bytes = PassStep(name="input-form", params={"dtype": "uint8", "layout": "nchw"})
    with pytest.raises(RecipeError, match="takes uint8 and leaves normalisation to its caller"):
        preprocessor_of(with_steps(preprocessing(0.9, "center", "bicubic"), only_bytes))

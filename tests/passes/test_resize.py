"""Resizing in the graph, against Pillow itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

from nfexport.errors import PassError
from nfexport.passes.front.preprocessing import resampling
from nfexport.passes.front.resize import Resize
from nfexport.sources.timm.torchvision_operators import import_timm
from tests.passes.graphs import Array, operators, parse, run

BODY = "g (float[batch, 3, 32, 32] x) => (float[batch, 3, 32, 32] y) { y = Identity(x) }"
SIZES = [(45, 61), (61, 45), (50, 50), (20, 24), (97, 64)]
"""Landscape, portrait, square, smaller than the crop, and much larger (height, width)."""

TRANSFORMS = [
    ("bicubic", "center", 0.9),
    ("bilinear", "center", 0.875),
    ("bicubic", "squash", 1.0),
    ("bilinear", "center", 1.0),
]


def photograph(height: int, width: int) -> Array:
    """Return [height, width, 3] uint8 with edges, flat parts and grain."""
    dice = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width]
    base = 127 + 80 * np.sin(x / 7.0)[..., None] + 60 * ((y // 9 + x // 11) % 2)[..., None] - 30
    noisy: Array = base + dice.normal(0, 12, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def by_timm(picture: Array, interpolation: str, mode: str, crop_pct: float) -> Array:
    """Return timm's own transform, [3, 32, 32] in 0..255."""
    import_timm()
    from timm.data import create_transform

    transform = create_transform(
        32, interpolation=interpolation, crop_pct=crop_pct, crop_mode=mode, mean=(0, 0, 0), std=(1, 1, 1)
    )
    cropped: Array = np.rint(transform(Image.fromarray(picture)).numpy() * 255)
    return cropped


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("interpolation", "mode", "crop_pct"), TRANSFORMS)
def test_in_numpy_it_is_pillow_bit_by_bit(
    interpolation: str, mode: str, crop_pct: float, size: tuple[int, int]
) -> None:
    picture = photograph(*size)
    got = resampling.resample(
        picture.transpose(2, 0, 1)[None].astype(np.float64),
        (32, 32),
        crop_pct=crop_pct,
        crop_mode=mode,
        interpolation=interpolation,
    )[0]
    assert (got == by_timm(picture, interpolation, mode, crop_pct)).all()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_the_order_of_the_axes_is_pillows(interpolation: str) -> None:
    # sizes around the border of the rule, smaller and larger, each telling the two orders apart
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    told_apart = 0
    for (height, width), (to_height, to_width) in [
        ((90, 60), (50, 40)),
        ((90, 60), (49, 40)),
        ((90, 60), (48, 40)),
        ((80, 40), (79, 70)),
        ((80, 40), (90, 20)),
        ((61, 45), (32, 32)),
    ]:
        picture = np.random.default_rng(height + to_height).integers(0, 256, (height, width), dtype=np.uint8)
        expected = np.asarray(Image.fromarray(picture).resize((to_width, to_height), filters[interpolation]))
        rows, columns = (
            resampling.weights(size, to, interpolation) for size, to in ((height, to_height), (width, to_width))
        )
        x = picture.astype(np.float64)
        by_height = resampling.to_bytes(resampling.to_bytes(rows @ x) @ columns.T)
        by_width = resampling.to_bytes(rows @ resampling.to_bytes(x @ columns.T))
        first = resampling.height_first((height, width), (to_height, to_width))
        np.testing.assert_array_equal(by_height if first else by_width, expected)
        told_apart += not np.array_equal(by_height, by_width)
    assert told_apart == 6


def graph_of(
    opset: int, size: tuple[int, int] | None, transform: tuple[Any, Any, float], value_range: float = 255
) -> ir.Model:
    model = parse(BODY, opset=opset)
    interpolation, mode, crop_pct = transform
    Resize(
        crop_pct=crop_pct,
        crop_mode=mode,
        interpolation=interpolation,
        value_range=value_range,
        from_size=size,
        opset=opset,
    ).apply(model)
    return model


@pytest.mark.parametrize(
    ("opset", "fixed"), [(9, True), (11, True), (13, True), (17, True), (18, False), (20, False)]
)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_in_the_graph_it_is_within_one_of_pillow(opset: int, fixed: bool, transform: tuple[str, str, float]) -> None:
    for size in SIZES:
        resized = resampling.geometry(size, (32, 32), transform[2], transform[1]).resized
        if not fixed and resampling.height_first(size, resized):
            continue  # the graph for any size starts with the width, and rounds elsewhere
        picture = photograph(*size)
        model = graph_of(opset, size if fixed else None, transform)
        got = run(model, {"x": picture.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        error = np.abs(got - by_timm(picture, *transform))
        assert error.max() <= 1
        # float32 decides a few halves otherwise: weights of bilinear are simple fractions
        assert (error > 0).mean() < 0.03


def test_with_other_attributes_it_is_not() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (97, 64, 3), dtype=np.uint8)
    model = graph_of(18, None, TRANSFORMS[0])
    right = run(model, {"x": picture.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    assert np.abs(right - by_timm(picture, *TRANSFORMS[0])).max() <= 1
    for node in model.graph:
        if node.op_type == "Resize":
            node.attributes.pop("exclude_outside")
    got = run(model, {"x": picture.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    assert np.abs(got - by_timm(picture, *TRANSFORMS[0])).max() > 1


def test_pixels_in_0_to_1_are_scaled() -> None:
    picture = photograph(45, 61)
    model = graph_of(11, (45, 61), TRANSFORMS[0], value_range=1.0)
    got = run(model, {"x": picture.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0][0]
    assert np.abs(got * 255 - by_timm(picture, *TRANSFORMS[0])).max() < 1.001


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_mode": "border"}, "the crop mode 'border' is not done in the graph"),
        ({"interpolation": "lanczos"}, "cannot be resized with 'lanczos'"),
        ({"opset": 17}, "cannot be resized at opset 17: Resize learned it at 18; pass --opset 18"),
    ],
)
def test_what_is_not_exact_is_refused(options: dict[str, Any], message: str) -> None:
    model = parse(BODY, opset=17)
    params: dict[str, Any] = {
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "opset": 18,
        **options,
    }
    with pytest.raises(PassError) as caught:
        Resize(**params).apply(model)
    assert message in str(caught.value)
    assert operators(model) == ["Identity"]


def test_applied_twice_it_is_refused() -> None:
    model = graph_of(18, None, TRANSFORMS[0])
    with pytest.raises(PassError, match="takes images of more than one size already"):
        Resize(crop_pct=0.9, crop_mode="center", interpolation="bicubic").apply(model)

"""What a file says of an image is what timm and PyTorch say of it, whatever the file leaves to its caller."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

import nfexport
from nfexport.errors import ImageError, InputError, OnnxFileError, RecipeError
from nfexport.images.classify.classifier import Prediction, classify, open_classifier
from nfexport.images.classify.description import describe
from nfexport.images.classify.inference import ImageOutputs
from nfexport.images.scores import softmax
from nfexport.inspection import inspect
from nfexport.recipe.metadata import DIGEST_KEY, RECIPE_KEY
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm.torchvision_operators import import_timm
from tests.images.classify.conftest import CLASSES, SIZE, drawn

Exported = Callable[[str], Path]

TOLERANCE = 1e-5
"""Of a probability. float32 costs 1e-7; a resize in the graph, which rounds single pixels otherwise, 1e-6;
swapped channels cost 1e-3, as a test here shows."""


@pytest.fixture(scope="module")
def timms() -> Callable[[Path], np.ndarray]:
    """Return what timm says: its transform, the model in float32, and the softmax of its card."""
    import_timm()
    from timm.data import create_transform

    loaded = load(ModelSpec(name="test_nfnet", image_size=SIZE, num_classes=CLASSES))
    pre = loaded.preprocessing
    transform = create_transform(
        SIZE,
        mean=pre.mean,
        std=pre.std,
        crop_pct=pre.crop_pct,
        crop_mode=pre.crop_mode,
        interpolation=pre.interpolation,
    )

    def probabilities(path: Path) -> np.ndarray:
        with Image.open(path) as image, torch.inference_mode():
            return np.asarray(loaded.module(transform(image.convert("RGB"))[None]).softmax(dim=1)[0])

    return probabilities


def check(prediction: Prediction, wanted: np.ndarray) -> None:
    order = np.argsort(-wanted)[: len(prediction.classes)]
    assert [guess.index for guess in prediction.classes] == list(order)
    given = [guess.probability for guess in prediction.classes]
    np.testing.assert_allclose(given, wanted[order], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["plain", "bgr", "bytes", "any-size", "four"])
def test_each_form_agrees_with_timm(
    form: str, exported: Exported, photos: Path, timms: Callable[[Path], np.ndarray]
) -> None:
    found = list(classify(exported(form), photos))
    assert [p.image.relative_to(photos).as_posix() for p in found] == ["a.png", "b.png", "more/a.png"]
    assert {len(p.classes) for p in found} == {4 if form == "any-size" else 5}
    for prediction in found:
        check(prediction, timms(prediction.image))


def test_labels_have_probabilities_of_their_own(
    exported: Exported, photos: Path, timms: Callable[[Path], np.ndarray]
) -> None:
    (prediction,) = classify(exported("labels"), photos / "a.png", top=CLASSES)
    given = np.array([guess.probability for guess in sorted(prediction.classes, key=lambda guess: guess.index)])
    odds = given / (1 - given)
    np.testing.assert_allclose(odds / odds.sum(), timms(photos / "a.png"), rtol=0, atol=TOLERANCE)
    assert abs(given.sum() - 1) > 0.1


def test_that_test_can_fail(exported: Exported, photos: Path, timms: Callable[[Path], np.ndarray]) -> None:
    description = describe(inspect(exported("bgr")))
    wrong = replace(description.preprocessor.preprocessing, channel_order="rgb")
    preprocessor = dataclasses.replace(description.preprocessor, preprocessing=wrong)
    classifier = open_classifier(
        exported("bgr"), description=dataclasses.replace(description, preprocessor=preprocessor)
    )
    (result,) = classifier.infer([photos / "a.png"])
    assert isinstance(result, ImageOutputs)
    given = result.outputs["probs"]
    assert np.abs(given - timms(photos / "a.png")).max() > 100 * TOLERANCE


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK", "I;16", "turned"])
def test_each_kind_of_image_agrees_with_timm(
    mode: str, exported: Exported, tmp_path: Path, timms: Callable[[Path], np.ndarray]
) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    if mode == "I;16":
        Image.fromarray(np.arange(90 * 100, dtype=np.uint16).reshape(90, 100)).save(path)
    elif mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        drawn(90, 100).save(path, exif=exif)
    else:
        drawn(90, 100, mode).save(path)
    (prediction,) = classify(exported("bytes"), path)
    check(prediction, timms(path))


def test_batches_change_no_answer_and_no_order(exported: Exported, photos: Path) -> None:
    one = list(classify(exported("plain"), photos))
    for batch in (2, 3, 8):
        for alone, together in zip(one, classify(exported("plain"), photos, batch=batch), strict=True):
            assert alone.image == together.image
            assert [g.index for g in alone.classes] == [g.index for g in together.classes]
            a, b = ([g.probability for g in p.classes] for p in (alone, together))
            # another batch is another order of float32 sums
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_images_of_any_size_run_one_at_a_time(exported: Exported, photos: Path) -> None:
    assert list(classify(exported("any-size"), photos, batch=4)) == list(classify(exported("any-size"), photos))


def test_a_fixed_batch_is_filled_up_and_no_other_taken(exported: Exported, photos: Path) -> None:
    assert len(list(classify(exported("four"), photos))) == 3
    with pytest.raises(InputError, match="fixed batch size of 4 and cannot run batches of 2; leave --batch out"):
        classify(exported("four"), photos, batch=2)


def png_of(width: int, height: int) -> bytes:
    """A PNG file that claims to be this large, and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_unreadable_images_are_told_in_order_and_the_others_answered(
    batch: int, exported: Exported, photos: Path
) -> None:
    (photos / "aa.png").write_bytes((photos / "a.png").read_bytes()[:2000])
    (photos / "ab.png").write_text("no image")
    (photos / "c.png").write_bytes(png_of(60000, 60000))
    heard: list[str] = []
    found = classify(exported("plain"), photos, batch=batch, on_skip=lambda error: heard.append(str(error)))
    assert [p.image.name for p in found] == ["a.png", "b.png", "a.png"]
    assert len(heard) == 3
    for text, part in zip(
        heard, ["aa.png' cannot be decoded", "ab.png' is not an image", "c.png' has more"], strict=True
    ):
        assert part in text
    with pytest.raises(ImageError, match=r"aa\.png' cannot be decoded"):
        list(classify(exported("plain"), photos))


def test_labels_come_from_the_recipe_a_file_or_the_caller(exported: Exported, photos: Path, tmp_path: Path) -> None:
    (prediction,) = classify(exported("plain"), photos / "a.png", top=1)
    index = prediction.classes[0].index
    assert prediction.classes[0].label == f"class {index}"
    names = [f"name {i}" for i in range(CLASSES)]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    for labels in (names, tmp_path / "names.txt"):
        (prediction,) = classify(exported("plain"), photos / "a.png", top=1, labels=labels)
        assert prediction.classes[0].label == f"name {index}"
    with pytest.raises(InputError, match="the list of labels has 6 labels, the file has 7 classes"):
        classify(exported("plain"), photos, labels=names[:-1])


def test_more_classes_than_there_are_are_refused(exported: Exported, photos: Path) -> None:
    with pytest.raises(InputError, match="returns 7 classes, not 8; pass --top from 1 to 7"):
        classify(exported("plain"), photos, top=8)
    with pytest.raises(InputError, match="returns the top 4 classes, not 5; pass --top from 1 to 4"):
        classify(exported("any-size"), photos, top=5)


def test_a_file_without_classes_or_recipe_says_so(exported: Exported, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"does not return classes \(its outputs: features\); .* --embed FILE"):
        classify(exported("features"), photos)
    model = onnx.load(exported("plain"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(RecipeError, match=r"bare\.onnx' has no recipe, so how its images are prepared is unknown"):
        classify(tmp_path / "bare.onnx", photos)


def test_a_description_may_come_from_elsewhere(exported: Exported, photos: Path, tmp_path: Path) -> None:
    model = onnx.load(exported("plain"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    classifier = open_classifier(tmp_path / "bare.onnx", description=describe(inspect(exported("plain"))))
    predict = classifier.predictor()
    (result,) = classifier.infer([photos / "a.png"])
    assert isinstance(result, ImageOutputs)
    assert [predict(result)] == list(classify(exported("plain"), photos / "a.png"))


def test_a_renamed_output_and_numbers_that_are_not_finite_are_told(
    exported: Exported, photos: Path, tmp_path: Path
) -> None:
    model = onnx.load(exported("four"))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert {RECIPE_KEY, DIGEST_KEY} <= set(kept)
    model.graph.node[-1].output[0] = model.graph.output[0].name = "other"
    onnx.save(model, tmp_path / "renamed.onnx")
    with pytest.raises(OnnxFileError, match="has no output 'output', which its recipe names"):
        classify(tmp_path / "renamed.onnx", photos)
    model = onnx.load(exported("four"))
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "head.fc.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(CLASSES, np.nan, np.float32), bias.name))
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(OnnxFileError, match="'output' has values that are not finite"):
        list(classify(tmp_path / "nan.onnx", photos))


def test_softmax_bears_logits_of_any_size() -> None:
    np.testing.assert_allclose(softmax(np.array([1000, 1000, 0], np.float32)), [0.5, 0.5, 0])
    np.testing.assert_allclose(softmax(np.log(np.array([1, 2, 5], np.float32))), [1 / 8, 2 / 8, 5 / 8], rtol=1e-6)


def test_it_runs_without_torch_and_timm(exported: Exported, photos: Path) -> None:
    code = (
        "import sys, nfexport\n"
        f"assert len(list(nfexport.classify({str(exported('plain'))!r}, {str(photos)!r}))) == 3\n"
        "assert callable(nfexport.classify)\n"
        "print({'torch', 'timm', 'torchvision', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert nfexport.classify is classify

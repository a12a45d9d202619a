"""The accuracy is the one that timm's transform and PyTorch give on their own, for every form of file."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nfexport
from nfexport.errors import ImageError, InputError, OnnxFileError
from nfexport.images.evaluate.batches import run_batches
from nfexport.images.evaluate.runners import open_runners
from tests.images.evaluate.conftest import COUNT, NAMES, Answered, export, waves


def test_the_accuracy_is_timms_and_pytorchs_own(model: Path, answered: Answered) -> None:
    result = nfexport.evaluate(model, answered.root, against="torch", workers=3)
    expected = (answered.per_cent(1), answered.per_cent(5))
    assert 40 < expected[0] < expected[1] < 100  # so a wrong order of classes would show
    assert [(score.runtime, score.top1, score.top5) for score in result.scores] == [
        ("onnxruntime", *expected),
        ("torch", *expected),
    ]
    assert (result.images, result.exit_code, result.data.rule) == (COUNT, 0, "folders in the order of their names")
    (agreement,) = result.agreements
    assert (agreement.top1, agreement.top5) == (100, 100)
    # float32 on both sides: a different image or class would be off by a thousand times more
    assert agreement.largest_difference is not None
    assert 0 < agreement.largest_difference < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"outputs": ["probs"], "normalize": "nodes", "input_range": 255.0, "channels": "bgr", "opset": 11},
        {"outputs": ["topk"], "top_k": 5, "input_dtype": "uint8", "input_layout": "nhwc", "normalize": "fold"},
        {"batch": 7},
        {"outputs": ["probs", "topk", "logits"], "precision": "fp16-weights"},
    ],
    ids=["bgr-probs", "bytes-topk", "fixed-batch", "several-outputs"],
)
def test_so_it_is_for_other_forms_of_the_file(options: dict[str, Any], answered: Answered, tmp_path: Path) -> None:
    path = export(tmp_path / "form.onnx", **options)
    result = nfexport.evaluate(path, answered.root, against="torch")
    assert result.scores[1].top1 == answered.per_cent(1)
    # half precision moves scores by 1e-3, and no image here is that close
    assert (result.score.top1, result.score.top5) == (answered.per_cent(1), answered.per_cent(5))
    assert result.agreements[0].largest_difference is not None
    assert result.agreements[0].largest_difference < (5e-3 if "precision" in options else 1e-5)
    if "batch" in options:
        with pytest.raises(InputError, match="fixed batch size of 7 and cannot run batches of 8"):
            nfexport.evaluate(path, answered.root, batch=8)


def test_a_file_that_resizes_is_compared_with_pillow_and_pytorch(answered: Answered, tmp_path: Path) -> None:
    path = export(
        tmp_path / "resizes.onnx",
        resize="any",
        normalize="nodes",
        outputs=["topk"],
        top_k=3,
        opset=18,
        exporter="torchscript",
    )
    result = nfexport.evaluate(path, answered.root, against="torch")
    assert result.transform.startswith("any size, as it is; rgb nhwc uint8 in 0..255")
    assert result.scores[1].top1 == answered.per_cent(1)
    assert result.scores[1].top5 == answered.per_cent(5)
    assert result.score.top5 is None  # three classes tell no top-5
    assert result.agreements[0].top5 is None
    # the graph's resize is within a level of Pillow's, which may turn an image or two of sixty
    assert abs(result.score.top1 - answered.per_cent(1)) <= 2 * 100 / COUNT
    assert result.agreements[0].largest_difference is not None
    assert 1e-6 < result.agreements[0].largest_difference < 0.1


def test_batches_and_threads_change_nothing(model: Path, answered: Answered) -> None:
    results = [
        nfexport.evaluate(model, answered.root, batch=batch, workers=workers)
        for batch, workers in ((1, 1), (13, 4), (100, 2))
    ]
    assert len({(r.score.top1, r.score.top5) for r in results}) == 1
    np.testing.assert_array_equal(results[0].predicted, results[1].predicted)
    np.testing.assert_array_equal(results[0].predicted, results[2].predicted)


def test_several_runtimes_agree_image_by_image(model: Path, answered: Answered) -> None:
    result = nfexport.evaluate(model, answered.root, runtimes=("onnxruntime", "openvino"), limit=20)
    assert [score.runtime for score in result.scores] == ["onnxruntime", "openvino"]
    assert (result.images, result.data.left_out) == (20, COUNT - 20)
    assert [(a.first, a.second, a.top1) for a in result.agreements] == [("onnxruntime", "openvino", 100)]


def test_a_wrong_file_disagrees_with_pytorch(model: Path, answered: Answered, tmp_path: Path) -> None:
    result = nfexport.evaluate(_with_bias(model, tmp_path, 3, 100.0), answered.root, against="torch")
    right = list(answered.truth.values()).count(3)
    assert result.score.top1 == pytest.approx(100 * right / COUNT, abs=1e-12)
    answers = sum(logits.argmax() == 3 for logits in answered.logits.values())
    assert result.agreements[0].top1 == pytest.approx(100 * answers / COUNT, abs=1e-12)
    assert result.agreements[0].largest_difference is not None
    assert result.agreements[0].largest_difference > 0.5


def test_not_a_number_is_never_right_and_is_counted(model: Path, answered: Answered, tmp_path: Path) -> None:
    result = nfexport.evaluate(_with_bias(model, tmp_path, 3, float("nan")), answered.root, against="torch")
    score = result.score
    assert (score.top1, score.top5, score.not_a_number) == (0, 0, COUNT)
    assert result.agreements[0].top1 == 0
    assert result.agreements[0].largest_difference is None
    assert result.scores[1].not_a_number == 0


def _with_bias(model: Path, folder: Path, index: int, value: float) -> Path:
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        if list(tensor.dims) == [10]:
            array = numpy_helper.to_array(tensor).copy()
            array[index] += value
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(proto, folder / "other.onnx")
    return folder / "other.onnx"


def test_images_that_cannot_be_read_are_skipped_and_named(model: Path, answered: Answered, tmp_path: Path) -> None:
    root = tmp_path / "val"
    shutil.copytree(answered.root, root)
    (root / "cat" / "bad.jpg").write_bytes(b"no image")
    (root / "dog" / "cut.png").write_bytes(next((root / "dog").iterdir()).read_bytes()[:200])
    result = nfexport.evaluate(model, root, against="torch")
    assert result.images == COUNT
    assert (result.score.top1, result.score.top5) == (answered.per_cent(1), answered.per_cent(5))
    assert [name for name, _ in result.skipped] == ["cat/bad.jpg", "dog/cut.png"]
    assert "bad.jpg' is not an image that Pillow can read" in result.skipped[0][1]
    assert result.exit_code == 1


def test_a_folder_without_one_readable_image_is_an_error(model: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"none of the 10 images .* can be read, the first because '.*ant/a\.jpg'"):
        nfexport.evaluate(model, tmp_path)


def test_classes_are_counted_one_by_one(model: Path, answered: Answered) -> None:
    result = nfexport.evaluate(model, answered.root)
    assert [score.index for score in result.classes] == list(range(10))
    assert sum(score.images for score in result.classes) == COUNT
    for score in result.classes:
        mine = [name for name, index in answered.truth.items() if index == score.index]
        answers = [int(answered.logits[name].argmax()) for name in mine]
        wrong = [answer for answer in answers if answer != score.index]
        assert score.images == len(mine)
        assert score.top1 == 100 * answers.count(score.index) / len(mine)
        assert score.confusions == max((wrong.count(answer) for answer in wrong), default=0)
        assert sum(answer == score.confused_with for answer in wrong) == score.confusions


def test_a_file_of_features_or_without_a_recipe_is_refused(model: Path, answered: Answered, tmp_path: Path) -> None:
    path = export(tmp_path / "embedding.onnx", outputs=["embedding"])
    with pytest.raises(OnnxFileError, match="returns embedding, but not classes"):
        nfexport.evaluate(path, answered.root)
    proto = onnx.load(model)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(OnnxFileError, match="has no recipe, so how its images are prepared is unknown"):
        nfexport.evaluate(tmp_path / "bare.onnx", answered.root)


def test_few_batches_are_under_way_at_a_time(model: Path, answered: Answered) -> None:
    """Memory is bounded by what is read ahead, so a reader who stops must stop the reading."""
    facts = nfexport.inspect(model)
    assert facts.recipe is not None
    from nfexport.images.evaluate.classes import classes_of
    from nfexport.images.evaluate.dataset import open_dataset
    from nfexport.images.evaluate.predictions import class_outputs

    (runner,) = open_runners(model, facts.recipe, class_outputs(facts.recipe), runtimes=["onnxruntime"], providers=[])
    calls = []

    @dataclasses.dataclass
    class Counting:
        name: str = "onnxruntime"
        version: str = ""
        preprocessor: object = runner.preprocessor

        def predict(self, pixels: list[Any]) -> object:
            calls.append(len(pixels))
            return runner.predict(pixels)

    dataset = open_dataset(answered.root, classes_of(facts.recipe))
    batches = run_batches(dataset, [Counting()], size=1, first=0, workers=2)  # type: ignore[list-item]
    assert next(batches).read == [0]
    time.sleep(0.5)  # enough for all of them
    assert 1 <= len(calls) <= 2 + 2 + 1
    batches.close()
    assert len(calls) <= 2 + 2 + 1


def test_without_against_torch_is_not_imported(model: Path, answered: Answered) -> None:
    code = (
        "import sys, nfexport\n"
        f"nfexport.evaluate({str(model)!r}, {str(answered.root)!r}, limit=5)\n"
        "print(sorted({'torch', 'timm', 'matplotlib', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_images(model: Path, tmp_path: Path) -> None:
    """500 images more may take 4 MB more: one kept as the file takes it is 49 kB, so they would be 24 MB."""
    waves(0, 64, 64).save(tmp_path / "a.jpg")
    peaks = []
    for count in (100, 600):
        root = tmp_path / str(count)
        for name in NAMES:
            (root / name).mkdir(parents=True)
            for number in range(count // 10):
                os.link(tmp_path / "a.jpg", root / name / f"{number}.jpg")
        code = (
            "import nfexport\n"
            f"nfexport.evaluate({str(model)!r}, {str(root)!r}, workers=1)\n"
            "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 4
    assert peaks[1] < 600

"""`nfexport evaluate` as a user meets it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import nfexport
from nfexport.cli import run
from nfexport.recipe.about import About, Accuracy, write_about
from tests.images.evaluate.conftest import Answered, answered, model

__all__ = ["answered", "model"]


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return " ".join(captured.out.split()), captured.err


def test_it_prints_what_it_found(model: Path, answered: Answered, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(model), str(answered.root), "--against", "torch", "--per-class"]) == 0
    out, err = said(capsys)
    assert err == ""  # no progress in a pipe
    for fact in (
        "60 images",
        "10 with images; folders in the order of their names",
        f"onnxruntime top-1 {answered.per_cent(1):.3f} %, top-5 {answered.per_cent(5):.3f} %",
        f"torch top-1 {answered.per_cent(1):.3f} %",
        "torch has the same top-1 for 100.000 %, the same five for 100.000 %, probabilities within",
        "64×64, bicubic, crop",
        "images/s",
        "taken for",
    ):
        assert fact in out


def test_json_csv_and_the_image_say_the_same(
    model: Path, answered: Answered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--csv", str(tmp_path / "c.csv"), "--confusion", str(tmp_path / "c.png")]
    assert run(["evaluate", str(model), str(answered.root), "--json", "--per-class", *files]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["runtimes"][0]["top1"] == answered.per_cent(1)
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["index"]), int(row["images"]), float(row["top1"])) for row in rows] == [
        (entry["index"], entry["images"], entry["top1"]) for entry in result["classes"]
    ]
    first = (tmp_path / "c.png").read_bytes()
    with Image.open(tmp_path / "c.png") as drawn:
        assert drawn.size == (900, 800)
    run(["evaluate", str(model), str(answered.root), "-q", *files])
    assert (tmp_path / "c.png").read_bytes() == first


def test_confusion_counts_truth_in_rows(model: Path, answered: Answered) -> None:
    from nfexport.images.evaluate.confusion import matrix

    result = nfexport.evaluate(model, answered.root)
    present, counts = matrix(result)
    expected = np.zeros((10, 10), int)
    for name, index in answered.truth.items():
        expected[index, answered.logits[name].argmax()] += 1
    np.testing.assert_array_equal(present, np.arange(10))
    np.testing.assert_array_equal(counts, expected)


def test_an_accuracy_that_is_not_as_expected_exits_with_1(
    model: Path, answered: Answered, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "-q", str(model), str(answered.root)]
    top1, top5 = answered.per_cent(1), answered.per_cent(5)
    assert run([*command, "--expect-top1", f"{top1:.2f}", "--expect-top5", f"{top5:.2f}"]) == 0
    assert run([*command, "--expect-top1", f"{top1 + 0.2:.4f}", "--within", "0.2001"]) == 0
    assert said(capsys) == ("", "")
    for wrong in (top1 - 0.2, top1 + 0.2):  # better than expected is wrong too
        assert run([*command, "--expect-top1", f"{wrong:.4f}"]) == 1
        out, err = said(capsys)
        wanted = f"{model}: top-1 in onnxruntime is {top1:.2f} %, expected {wrong:.2f} % ± 0.1"
        assert (out, err) == ("", f"nfexport: {wanted}\n")


def test_the_claim_in_the_file_is_held_to(
    model: Path, answered: Answered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(model), str(answered.root), "--expect-claimed"]) == 2
    assert "states no published accuracy; pass --expect-top1" in said(capsys)[1]
    for claim, code in ((answered.per_cent(1), 0), (83.34, 1)):
        proto = onnx.load(model)
        for key, value in write_about(About(title="t", claimed=Accuracy(top1=claim))).items():
            proto.metadata_props.add(key=key, value=value)
        onnx.save(proto, tmp_path / "claims.onnx")
        command = ["evaluate", str(tmp_path / "claims.onnx"), str(answered.root), "-q", "--expect-claimed"]
        assert run([*command, "--record", "--dataset", "ten kinds"]) == code
        evaluation = nfexport.inspect(tmp_path / "claims.onnx").evaluation
        if code == 0:
            assert evaluation is not None
            assert evaluation.top1 == round(claim, 4)
            assert (evaluation.images, evaluation.dataset) == (60, "ten kinds")
        else:
            assert evaluation is None
            assert "expected 83.34 % ± 0.1" in (err := said(capsys)[1])
            assert "not recorded" in err


def test_a_skipped_image_is_named_on_stderr(
    model: Path, answered: Answered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "val"
    for name, index in answered.truth.items():
        (root / str(index)).mkdir(parents=True, exist_ok=True)
        (root / str(index) / Path(name).name).symlink_to(answered.root / name)
    (root / "4" / "z.jpg").write_bytes(b"no image")
    assert run(["evaluate", str(model), str(root), "--record"]) == 1
    out, err = said(capsys)
    assert "60 images read, 1 skipped; the accuracy is of those read" in out
    assert f"nfexport: skipped: '{root}/4/z.jpg' is not an image that Pillow can read\n" in err
    assert nfexport.inspect(model).evaluation is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--within", "1"], "--within is the tolerance of an expected accuracy; add --expect-top1"),
        (["--expect-top1", "1", "--expect-claimed"], "are two expectations"),
        (["--checkpoint", "x.pt"], "--checkpoint has the weights of the model in PyTorch; add --against torch"),
        (["--dataset", "x"], "--dataset names the data in a record; add --record"),
        (["--csv", "none/x.csv"], "the folder 'none' does not exist"),
        (["--truth-base", "1"], "--truth-base is for a truth file"),
        (["--runtime", "tensorrt"], "there is no runtime 'tensorrt'"),
        (["--class-map", "none.txt"], "there is no file 'none.txt'"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], message: str, model: Path, answered: Answered, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(model), str(answered.root), *options]) == 2
    out, err = said(capsys)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1

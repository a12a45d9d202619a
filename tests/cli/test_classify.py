"""`nfexport classify` from the outside: tables, CSV, JSON, files that are written, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_OK, EXIT_VERIFICATION
from tests.images.classify.conftest import drawn


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classify") / "m.onnx"
    options: dict[str, Any] = {"outputs": ("logits", "features", "embedding")}
    nfexport.export("test_nfnet", path, fold_ws=True, image_size=64, verify=False, **options)
    return path


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classify") / "maps.onnx"
    nfexport.export("test_nfnet", path, fold_ws=True, image_size=64, outputs=("features",), verify=False)
    return path


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    drawn(90, 120).save(folder / "a.png")
    drawn(130, 70).save(folder / "b.png")
    return folder


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_a_table_for_each_image(exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["classify", str(exported), "photos"]) == EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert len(lines) == 12
    assert (lines[0], lines[6]) == ("photos/a.png", "photos/b.png")
    best = next(nfexport.classify(exported, photos / "a.png")).classes[0]
    assert best.label in lines[1]
    assert lines[1].split()[0] == f"{best.probability:.2%}"
    assert lines[1].split()[-1] == str(best.index)


def test_verbose_says_what_ran_and_quiet_nothing(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["classify", str(exported), "photos/a.png", "-v"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["file", "model", "runtime", "photos/a.png"]
    assert run(["classify", str(exported), "photos/a.png", "-q"]) == EXIT_OK
    assert capsys.readouterr() == ("", "")


def test_csv_has_one_row_a_class(exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["classify", str(exported), "photos/*.png", "--csv", "--top", "3", "--batch", "2"]) == EXIT_OK
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["image", "rank", "class", "label", "probability"]
    assert [(row["image"], row["rank"]) for row in rows] == [
        (f"photos/{name}.png", str(rank)) for name in "ab" for rank in (1, 2, 3)
    ]
    best = next(nfexport.classify(exported, photos / "a.png", batch=2)).classes[0]
    assert (int(rows[0]["class"]), rows[0]["label"]) == (best.index, best.label)
    assert float(rows[0]["probability"]) == pytest.approx(best.probability, rel=1e-5)  # another batch size


def test_json_is_one_document_with_what_was_skipped(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_text("no image")
    assert run(["classify", str(exported), "photos", "--json", "--top", "2"]) == EXIT_VERIFICATION
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["model"] == "test_nfnet"
    assert document["runtime"].startswith("onnxruntime ")
    assert [entry["image"] for entry in document["images"]] == ["photos/a.png", "photos/b.png"]
    assert [set(guess) for guess in document["images"][0]["classes"]] == [{"class", "label", "probability"}] * 2
    assert document["images_read"] == 2
    assert document["skipped"] == [
        {
            "image": "photos/bad.png",
            "problem": "'photos/bad.png' is not an image that Pillow can read",
            "fix": "convert it to PNG or JPEG",
        }
    ]
    problem, fix = "'photos/bad.png' is not an image that Pillow can read", "convert it to PNG or JPEG"
    assert captured.err == f"nfexport: {problem}; {fix}\n"


def test_json_of_no_readable_image_is_a_document_too(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_text("no image")
    assert run(["classify", str(exported), "photos/bad.png", "--json"]) == EXIT_VERIFICATION
    assert json.loads(capsys.readouterr().out)["images"] == []


def test_the_same_command_prints_the_same_bytes(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for _ in range(2):
        assert run(["classify", str(exported), "photos", "--json", "--save-features", "f"]) == EXIT_OK
        printed.append((capsys.readouterr().out, [p.read_bytes() for p in sorted(Path("f").iterdir())]))
    assert printed[0] == printed[1]


def test_embeddings_and_features_are_written_beside_the_classes(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "aa.png").write_text("no image")
    words = ["classify", str(exported), "photos", "--embed", "e.npy", "--save-features", "maps/new"]
    assert run(words) == EXIT_VERIFICATION
    out = capsys.readouterr().out
    assert "embeddings of 2 images in e.npy" in out
    assert "features of 2 images in maps/new" in out
    assert Path("e.images.csv").read_text() == "row,image\n0,photos/a.png\n1,photos/b.png\n"
    embedded = np.load("e.npy")
    assert (embedded.dtype, embedded.shape) == (np.float32, (2, 192))
    assert Path("maps/new/images.csv").read_text() == "file,image\na.npz,photos/a.png\nb.npz,photos/b.png\n"
    with np.load("maps/new/a.npz") as arrays:
        assert arrays.files == [f"features_{i}" for i in range(5)]
        assert arrays["features_4"].shape == (192, 2, 2)


def test_a_file_without_classes_writes_its_maps(maps: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["classify", str(maps), "photos", "--save-features", "f"]) == EXIT_OK
    assert capsys.readouterr().out == "features of 2 images in f\n"
    assert run(["classify", str(maps), "photos"]) == EXIT_INPUT
    assert "does not return classes (its outputs: features); save its outputs with --embed FILE" in complaint(capsys)
    assert run(["classify", str(maps), "photos", "--embed", "e.npy"]) == EXIT_INPUT
    wanted = "does not return an embedding (its outputs: features); export one that does with 'nfexport test_nfnet"
    assert wanted in complaint(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no images were named; name files"),
        (["none.png"], "there is no file or folder 'none.png'"),
        (["photos", "--json", "--csv"], "--json and --csv are two formats of one output"),
        (["photos", "--top", "1001"], "the file returns 1000 classes, not 1001; pass --top from 1 to 1000"),
        (["photos", "--labels", "none.txt"], "the labels 'none.txt' cannot be read"),
        (["photos", "--embed", "e.csv"], "embeddings cannot be written to 'e.csv'"),
        (["photos", "--embed", "none/e.npy"], "the folder 'none' does not exist"),
        (["photos", "--runtime", "abacus"], "there is no runtime 'abacus'"),
        (["photos", "--provider", "abacus"], "has no execution provider 'abacus'"),
        (["photos", "--runtime", "reference", "--provider", "cuda"], "--provider is for ONNX Runtime alone"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_runs(
    words: list[str], message: str, exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["classify", str(exported), *words]) == EXIT_INPUT
    assert message in complaint(capsys)
    assert [p.name for p in Path.cwd().iterdir()] == ["photos"]


def test_as_a_process_with_a_list_on_stdin(exported: Path, photos: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nfexport", "classify", str(exported), "-", "--csv", "--top", "1"],
        input=b"photos/b.png\0photos/gone.png\0photos/caf\xe9.png\0photos/a.png\0",
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.returncode == EXIT_VERIFICATION
    assert [line.split(b",")[0] for line in done.stdout.splitlines()] == [
        b"image",
        b"photos/b.png",
        b"photos/a.png",
    ]
    first, second = done.stderr.decode().splitlines()
    assert first == "nfexport: there is no image 'photos/gone.png'; check the path"
    assert second.startswith("nfexport: there is no image 'photos/caf")


def test_a_name_that_is_no_utf8_is_printed_all_the_same(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.png").rename(os.fsdecode(b"photos/caf\xe9.png"))
    for form in (["--csv"], ["--json"], []):
        assert run(["classify", str(exported), "photos", "--embed", "e.parquet", *form]) == EXIT_OK
        assert "caf\\xe9.png" in capsys.readouterr().out.replace("\\\\", "\\")


def test_help_lists_options_by_purpose_and_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["classify", "--help"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Images", "Outputs", "Execution", "Reporting", "Other options"]
    assert [line.split("  ")[1] for line in lines[lines.index("Other options:") + 1 :]] == ["-h, --help"]

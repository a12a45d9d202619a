"""Embeddings and feature maps of many images, in files that others read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from nfexport.errors import InputError, MissingPackage, OutputError
from nfexport.images.classify.classifier import open_classifier
from nfexport.images.classify.embeddings import check_embeddings, embeddings, listing_path
from nfexport.images.classify.feature_maps import feature_maps
from nfexport.images.classify.inference import ImageOutputs

Exported = Callable[[str], Path]


def rows(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


def write(target: Path, values: np.ndarray) -> None:
    check_embeddings(target)
    with embeddings(target) as add:
        for i, row in enumerate(values):
            add(Path(f"p, {i}.png"), row)


@pytest.mark.parametrize("count", [1, 9, 10, 12345])
def test_npy_of_a_number_of_rows_that_nobody_knew(count: int, tmp_path: Path) -> None:
    target, values = tmp_path / "e.npy", rows(count, 3)
    write(target, values)
    np.testing.assert_array_equal(np.load(target, mmap_mode="r"), values)
    plain = tmp_path / "plain.npy"
    np.save(plain, values)
    assert target.read_bytes() == plain.read_bytes()
    lines = listing_path(target).read_text().splitlines()
    assert lines[:2] == ["row,image", '0,"p, 0.png"']
    assert (listing_path(target).name, len(lines)) == ("e.images.csv", count + 1)


def test_npy_of_maps(tmp_path: Path) -> None:
    write(tmp_path / "e.npy", rows(4, 5, 2, 3))
    assert np.load(tmp_path / "e.npy").shape == (4, 5, 2, 3)


@pytest.mark.parametrize("count", [1, 1024, 1025])
def test_parquet(count: int, tmp_path: Path) -> None:
    target, values = tmp_path / "e.parquet", rows(count, 2, 3)
    write(target, values)
    table = pyarrow.parquet.read_table(target)
    assert table.column_names == ["image", "embedding"]
    assert table.column("image").to_pylist() == [f"p, {i}.png" for i in range(count)]
    np.testing.assert_array_equal(
        np.array(table.column("embedding").to_pylist(), np.float32), values.reshape(count, 6)
    )
    assert table.schema.field("embedding").metadata[b"shape"] == b"2,3"


@pytest.mark.parametrize("name", ["e.npy", "e.parquet"])
def test_what_fails_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, rows(2, 3))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    message = r"embedding of 'b' has shape \[4\], those before it have \[3\]"
    with pytest.raises(InputError, match=message), embeddings(tmp_path / name) as add:
        add(Path("a"), np.zeros(3, np.float32))
        add(Path("b"), np.zeros(4, np.float32))
    with pytest.raises(OutputError, match="no image could be read, so"), embeddings(tmp_path / name):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_cannot_be_written_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot be written to '.*e\.txt'; name a \.npy or \.parquet file"):
        check_embeddings(tmp_path / "e.txt")
    with pytest.raises(OutputError, match=r"does not exist; create it, or name another file with --embed"):
        check_embeddings(tmp_path / "none" / "e.npy")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackage, match=r"needs pyarrow, which is not installed; .* 'nfexport\[parquet\]'"):
        check_embeddings(tmp_path / "e.parquet")


def test_feature_maps_by_the_names_of_images(tmp_path: Path) -> None:
    images = ["x/a.png", "x/a.jpg", "y/a.png", "y/A.png", "x/a.png", "../b.png"]
    with feature_maps(tmp_path, ["f1"]) as add:
        for i, name in enumerate(images):
            add(Path(name), {"f0": np.zeros(1), "f1": np.full((2, 2), i, np.float32)})
    listing = [line.split(",") for line in (tmp_path / "images.csv").read_text().splitlines()]
    assert listing[0] == ["file", "image"]
    assert [line[1] for line in listing[1:]] == images
    places = [line[0] for line in listing[1:]]
    assert places == ["a.npz", "a.jpg.npz", "a.png.npz", "y/A.png.npz", "x/a.png.npz", "b.npz"]
    for i, place in enumerate(places):
        with np.load(tmp_path / place) as arrays:
            assert arrays.files == ["f1"]
            np.testing.assert_array_equal(arrays["f1"], np.full((2, 2), i))


def test_one_image_many_times_has_many_files(tmp_path: Path) -> None:
    with feature_maps(tmp_path, ["f"]) as add:
        for _ in range(5):
            add(Path("a.png"), {"f": np.zeros(1)})
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == [
        "a.npz",
        "a.png-2.npz",
        "a.png-3.npz",
        "a.png-4.npz",
        "a.png.npz",
    ]


def test_what_is_written_is_what_the_model_gives(exported: Exported, photos: Path, tmp_path: Path) -> None:
    import torch

    from nfexport.sources import ModelSpec, load
    from tests.images.classify.conftest import CLASSES, SIZE

    classifier = open_classifier(exported("plain"))
    (result,) = classifier.infer([photos / "a.png"])
    assert isinstance(result, ImageOutputs)
    preprocessor = classifier.description.preprocessor
    module: Any = load(ModelSpec(name="test_nfnet", image_size=SIZE, num_classes=CLASSES)).module
    with torch.inference_mode():
        image = torch.from_numpy(preprocessor.batch([preprocessor.read(photos / "a.png")]))
        unpooled = module.forward_features(image)
        wanted = {
            "embedding": module.forward_head(unpooled, pre_logits=True)[0],
            "embedding_unpooled": unpooled[0],
            **{f"features_{i}": m[0] for i, m in enumerate(module.forward_intermediates(image)[1])},
        }
    assert classifier.description.embedding is not None
    assert classifier.description.embedding.name == "embedding"
    assert [output.name for output in classifier.description.features] == [f"features_{i}" for i in range(5)]
    for name, value in wanted.items():
        given = result.outputs[name]
        # float32: 1e-6 of the range
        assert np.abs(given - value.numpy()).max() < 1e-5 * np.ptp(value.numpy())

"""The names of classes: timm's own, without importing it, or the user's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from nfexport.errors import InputError
from nfexport.images.labels import label_names, read_labels
from nfexport.images.synsets import LISTS
from nfexport.sources.timm.torchvision_operators import import_timm

import_timm()


@pytest.mark.parametrize("subset", LISTS)
def test_names_are_those_of_timm(subset: str) -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    assert label_names(subset, info.num_classes()) == tuple(info.label_descriptions())


def test_every_subset_that_timm_infers_has_its_names() -> None:
    from timm.data.imagenet_info import _NUM_CLASSES_TO_SUBSET

    assert set(_NUM_CLASSES_TO_SUBSET.values()) <= set(LISTS)
    for count, subset in _NUM_CLASSES_TO_SUBSET.items():
        assert len(label_names(subset, count)) == count
    assert label_names("imagenet-1k", 1000)[0] == "tench, Tinca tinca"


def test_what_nobody_knows_is_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert label_names(None, 2) == ("class 0", "class 1")
    assert label_names("my own", 2) == ("class 0", "class 1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert label_names("imagenet-1k", 1000)[999] == "class 999"


def test_as_many_names_as_classes() -> None:
    assert label_names(("cat", "dog"), 2) == ("cat", "dog")
    with pytest.raises(InputError, match="list of labels has 2 labels, the file has 3 classes; pass the labels of"):
        label_names(("cat", "dog"), 3)
    with pytest.raises(InputError, match="'imagenet-1k' has 1,000 labels, the file has 10 classes"):
        label_names("imagenet-1k", 10)


@pytest.mark.parametrize(
    "text",
    [
        "cat\n big dog \n",
        "\ufeffcat\r\nbig dog\r\n",
        json.dumps(["cat", "big dog"]),
        json.dumps({"1": "big dog", "0": "cat"}),
    ],
)
def test_forms_of_a_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "l").write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / "l", 2) == ("cat", "big dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"cat\n", r"l' has 1 labels, the file has 2 classes"),
        (b"cat\ndog\ncow\n", r"l' has 3 labels, the file has 2 classes"),
        (b"[1,", r"l' are not JSON"),
        (b'{"0": "cat", "2": "dog"}', r"l' are not numbered from 0 to 1"),
        (b'{"cat": 0, "dog": 1}', r"l' are not numbered from 0 to 1"),
        (b"\xff\xfe\x00", r"l' cannot be read \(it is not UTF-8\)"),
    ],
)
def test_a_file_that_does_not_fit_says_why(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "l", 2)
    with pytest.raises(InputError, match=r"none' cannot be read \(No such file"):
        read_labels(tmp_path / "none", 2)

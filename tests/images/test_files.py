"""Files, folders, patterns and lists become images, in order, when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfexport.errors import ImageError
from nfexport.images import files
from nfexport.images.files import find_images, paths_listed, printable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b.JPG",
        "a/z.png",
        "a.png",
        "a/deep/y.webp",
        "c/notes.txt",
        ".hidden.png",
        ".git/x.png",
        "d [1].gif",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str, stdin: bytes | None = None) -> list[str]:
    return [p.as_posix() for p in find_images(words, None if stdin is None else io.BytesIO(stdin))]


def test_a_folder_is_searched_to_its_end_sorted_by_path(folder: Path) -> None:
    assert names(".") == ["a/deep/y.webp", "a/z.png", "a.png", "b.JPG", "d [1].gif"]
    assert list(find_images([folder])) == sorted(folder / name for name in names("."))


def test_files_are_taken_whatever_their_suffix_and_in_the_order_given(folder: Path) -> None:
    assert names("c/notes.txt", "a.png", "a") == ["c/notes.txt", "a.png", "a/deep/y.webp", "a/z.png"]


def test_patterns(folder: Path) -> None:
    assert names("*.png") == ["a.png"]
    assert names("**/*.[pw]*") == ["a/deep/y.webp", "a/z.png", "a.png"]
    assert names(f"{folder}/a/*") == [f"{folder}/a/z.png"]  # files alone
    assert names("d [1].gif") == ["d [1].gif"]  # there is a file of that name


def test_a_word_that_names_nothing_is_told_before_anything_is_read(folder: Path) -> None:
    for word, message in (
        ("no.png", "there is no file or folder 'no.png'; check"),
        ("c", "there is no image in the folder 'c'"),
        ("*.tiff", r"no file matches '\*\.tiff'"),
    ):
        with pytest.raises(ImageError, match=message):
            find_images(["a.png", word])


@pytest.mark.parametrize("text", [b"a.png\nb c.jpg\n\n", b"a.png\r\nb c.jpg", b"a.png\0b c.jpg\0", b"a.png\0b c.jpg"])
def test_a_list_on_stdin(text: bytes, folder: Path) -> None:
    assert names("-", stdin=text) == ["a.png", "b c.jpg"]
    assert names("b.JPG", "-", "b.JPG", stdin=text) == ["b.JPG", "a.png", "b c.jpg", "b.JPG"]


def test_a_name_between_nuls_may_hold_a_line_break() -> None:
    assert [str(p) for p in paths_listed(io.BytesIO(b"a\nb.png\0c.png\0"))] == ["a\nb.png", "c.png"]


def test_a_list_is_followed_as_it_arrives() -> None:
    asked = []

    class Slow(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            asked.append(size)
            return (b"a.p", b"ng\nb.png\nc.", b"png", b"")[len(asked) - 1]

    found = paths_listed(Slow())  # type: ignore[arg-type]
    assert (str(next(found)), len(asked)) == ("a.png", 2)
    assert [str(p) for p in found] == ["b.png", "c.png"]


def test_folders_are_read_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    within = files._within

    def watched(place: Path) -> Iterator[Path]:
        seen.append(place.name)
        return within(place)

    found = find_images([folder])
    monkeypatch.setattr(files, "_within", watched)
    assert next(found).name == "y.webp"
    assert "c" not in seen


def test_a_name_that_is_no_utf8_can_be_written() -> None:
    assert printable(Path("caf\udce9.png")) == "caf\\xe9.png"
    assert printable(Path("café.png")) == "café.png"

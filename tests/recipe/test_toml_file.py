"""A mistake in a TOML file is named by its line and key, wherever the key stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from nfexport.errors import InputError
from nfexport.recipe.toml_file import TomlFile


class Item(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A table in an array."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.kind == "b" and self.number > 9:
            raise ValueError("'number' is above 9")


class Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A file."""

    title: str = ""
    text: str = ""
    file: Path | None = None
    names: dict[str, str] = {}
    items: tuple[Item, ...] = ()
    batch: Annotated[int, msgspec.Meta(ge=1)] | Literal["dynamic"] = 1


def read(path: Path, text: str) -> Document:
    path.write_text(text, encoding="utf-8")
    return TomlFile(path, refuse=InputError, keys="see the docs").value(Document)


def test_a_file_becomes_a_value(tmp_path: Path) -> None:
    found = read(tmp_path / "d.toml", 'file = "w.pth"\nnames.x = "y"\n[[items]]\nnumber = 3\n')
    assert found == Document(file=Path("w.pth"), names={"x": "y"}, items=(Item(number=3),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# title = 1\n\ntitle = 1\n", ", line 3, key 'title': it has to be text, not a whole number; see the docs"),
        ('text = """\ntitle = 2\n[items]\n"""\ntitle = 1\n', ", line 5, key 'title': it has to be text"),
        ("text = '''\ntitle = 2 \"\"\"\n'''\ntitle = 1\n", ", line 4, key 'title': it has to be text"),
        ('"title" = 1\n', ", line 1, key 'title': it has to be text"),
        ("[names]\n'a' = 1\n", ", line 1, key 'names': it has to be text"),
        ("names.a = 1\n", ", line 1, key 'names': it has to be text"),
        (
            "[[items]]\nnumber = 1\n# ]\n[[ items ]]\nnumber = 0\n",
            ", line 5, key 'items[2].number': it has to be a whole",
        ),
        ("items = [{ number = 1, kind = 'c' }]\n", ", line 1, key 'items[1].kind': 'c' is unknown; use one of a, b"),
        ("items = [{ number = 10, kind = 'b' }]\n", ", line 1, key 'items[1]': 'number' is above 9; see the docs"),
        ("[[items]]\n", ", line 1, key 'items[1]': the key 'number' is missing; add it"),
        ("[other]\n", ", line 1, key 'other': the key is unknown; use one of title, text, file, names, items, batch"),
        ("batch = 'all'\n", ", line 1, key 'batch': 'all' is unknown; use one of dynamic"),
        ("batch = true\n", ", line 1, key 'batch': it has to be a whole number or text, not true or false"),
        ("file = ' '\n", ", line 1, key 'file': it has to be the name of a file"),
        ("title = 1979-05-27\n", ", line 1, key 'title': it has to be text, not a date"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "d.toml", text)
    assert str(caught.value).startswith(f"'{tmp_path / 'd.toml'}'{message}")


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"d\.toml' is not TOML \(.*line 2"):
        read(tmp_path / "d.toml", "title = 'a'\ntitle =\n")
    with pytest.raises(InputError, match=r"d\.toml' is not TOML"):
        read(tmp_path / "d.toml", "text = " + "[" * 100_000)
    (tmp_path / "d.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(InputError, match=r"d\.toml' is not TOML"):
        TomlFile(tmp_path / "d.toml", refuse=InputError, keys="")
    with pytest.raises(InputError, match=r"gone\.toml' cannot be read \(No such file or directory\); check the path"):
        TomlFile(tmp_path / "gone.toml", refuse=InputError, keys="")

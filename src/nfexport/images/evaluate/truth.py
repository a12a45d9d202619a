"""Files that say which class a picture has, and which index a name stands for.

    name class      a line for each picture: 'ILSVRC2012_val_00000001.JPEG 65', or with a comma between
    class           a line for each picture, in the order of the pictures' names

A class is a number, a synset or label of the file, or what a class map makes of it. In a file with commas the
first line may be a heading ('name,class'), and what follows the first word of the class is passed over: boxes,
in ImageNet's own LOC_val_solution.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from nfexport.errors import InputError
from nfexport.images.evaluate.classes import Classes, few

Row = tuple[int, str | None, str]
"""Number of the line, name of the picture if the line has one, and class."""

HEADINGS = ("class", "index", "label", "target", "truth", "category", "class_id", "predictionstring")
"""Words at the head of a column of classes."""

KIT = "'{path}' counts from 1 in the order of the development kit (ILSVRC2012_ID), which is not that of the classes"
KIT_FIX = "pass --class-map FILE with a line 'ID synset' for each, from the kit's meta.mat"


def read_truth(
    path: Path, pictures: Sequence[str], classes: Classes, *, base: int | None
) -> tuple[dict[str, int], str]:
    """Return the class of each picture that the file names, and in words how it was read.

    pictures are sorted. base is the number of the first class, None to find out: 0 if the file has a 0, 1 if
    it has the number of classes. Raises InputError if it has neither, and for what does not fit."""
    rows, comma = _rows(path)
    index, how = _reader(path, [token for _, _, token in rows], classes, base, named=rows[0][1] is not None)
    if rows[0][1] is None:
        if len(rows) != len(pictures):
            raise InputError(
                f"'{path}' has {len(rows):,} lines for {len(pictures):,} pictures",
                fix="pass the list of these very pictures, or one with their names",
            )
        by_name = sorted(pictures, key=lambda name: (PurePosixPath(name).name, name))
        answers = {name: index(line, token) for name, (line, _, token) in zip(by_name, rows, strict=True)}
        return answers, f"one class a line in order of names, {how}"
    find = _finder(pictures)
    missing = [str(name) for _, name, _ in rows if find(str(name)) is None]
    if missing:
        raise InputError(
            f"'{path}' names pictures that are not there: {few(missing)}",
            fix="name the folder that they are in, or remove these lines",
        )
    answers = {}
    for line, name, token in rows:
        picture, its = str(find(str(name))), index(line, token)
        if answers.setdefault(picture, its) != its:
            raise InputError(f"'{path}' has two classes for '{picture}'", fix=f"remove line {line}, or the other")
    return answers, f"a name and a class {'with commas' if comma else 'a line'}, {how}"


def read_class_map(path: Path, classes: Classes) -> dict[str, int]:
    """Return the index for each name: from lines 'name index', 'name synset' or with commas, or from a list
    of names alone, the first of which is class 0, as timm's class maps are.

    Raises InputError if the file cannot be read, or has an index that is no class's."""
    rows, _ = _rows(path)
    if rows[0][1] is None:
        return {token: classes.check(place, f"'{path}', line {line}") for place, (line, _, token) in enumerate(rows)}
    result: dict[str, int] = {}
    for line, name, token in rows:
        its = _index(path, line, token, classes, base=0)
        if result.setdefault(str(name), its) != its:
            raise InputError(f"'{path}' has two classes for '{name}'", fix=f"remove line {line}, or the other")
    return result


def _rows(path: Path) -> tuple[list[Row], bool]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"there is no file '{path}'", fix="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read ({error})", fix="pass a text file") from error
    filled = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    comma = bool(filled) and all("," in line for _, line in filled)
    rows: list[Row] = []
    for number, line in filled:
        if comma:
            name, _, rest = line.partition(",")
            words = rest.strip().strip('"').split()
            rows.append((number, name.strip().strip('"'), words[0] if words else ""))
        else:
            fields = line.rsplit(maxsplit=1)
            rows.append((number, fields[0], fields[1]) if len(fields) == 2 else (number, None, line))
    if comma and rows[0][2].lower() in HEADINGS:
        del rows[0]
    if not rows:
        raise InputError(f"'{path}' is empty", fix="pass a file with a line for each picture or class")
    for number, own, _ in rows:
        if (own is None) != (rows[0][1] is None):
            raise InputError(
                f"'{path}', line {number}, has not as many fields as line {rows[0][0]}", fix="mend the file"
            )
    return rows, comma


def _reader(
    path: Path, tokens: Sequence[str], classes: Classes, base: int | None, *, named: bool
) -> tuple[Callable[[int, str], int], str]:
    """Return what turns a line and its class into an index, and how, in words."""
    if classes.given is not None:
        given = classes.given
        return lambda line, token: _mapped(path, line, token, given), "by --class-map"
    if not all(token.isdecimal() for token in tokens):
        return lambda line, token: _index(path, line, token, classes, base=0), "classes by name"
    found = base if base is not None else _base(path, {int(token) for token in tokens}, classes)
    if found == 1 and not named and classes.labels == "imagenet-1k":
        raise InputError(KIT.format(path=path), fix=KIT_FIX)
    why = "" if base is not None else f", as it has a {0 if found == 0 else classes.count}"
    return lambda line, token: _index(path, line, token, classes, base=found), f"classes from {found}{why}"


def _base(path: Path, numbers: Iterable[int], classes: Classes) -> int:
    low, high = min(numbers), max(numbers)
    if low == 0 or high == classes.count:
        if low == 0 and high >= classes.count:
            classes.check(high, f"'{path}'")
        return 0 if low == 0 else 1
    classes.check(high, f"'{path}'")
    raise InputError(
        f"'{path}' has the classes {low} to {high} of {classes.count:,}, so it may count from 0 or from 1",
        fix="pass --truth-base 0 or --truth-base 1",
    )


def _index(path: Path, line: int, token: str, classes: Classes, *, base: int) -> int:
    where = f"'{path}', line {line},"
    if token.isdecimal():
        if int(token) < base:
            raise InputError(f"{where} has the class {token}, and counts from {base}", fix="pass --truth-base 0")
        return classes.check(int(token) - base, where)
    if token not in classes.by_name:
        raise InputError(f"{where} has '{token}', which is no class of the file", fix="pass --class-map FILE")
    return classes.by_name[token]


def _mapped(path: Path, line: int, token: str, given: Mapping[str, int]) -> int:
    if token not in given:
        raise InputError(f"the class map does not have '{token}' ('{path}', line {line})", fix="add it to the map")
    return given[token]


def _finder(pictures: Sequence[str]) -> Callable[[str], str | None]:
    """Return what finds a picture by its path in the folder, or by its name or stem where one picture has it."""
    table: dict[str, str | None] = {}
    for picture in pictures:
        pure = PurePosixPath(picture)
        for key in {pure.name, pure.stem}:
            table[key] = None if key in table else picture
    table.update({picture: picture for picture in pictures})
    return lambda name: table.get(name.replace("\\", "/").removeprefix("./"))

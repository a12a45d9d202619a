"""Read files that list the class of each image, and files that map names to classes.

    name class      a line for each image: 'ILSVRC2012_val_00000001.JPEG 65', or with a comma
    class           a line for each image, in the order of the images' names

A class is a number, a synset or label of the file, or a name in a class map. A file with commas may have a header
('name,class'); only the first word of its second column is read, as ImageNet's LOC_val_solution.csv lists boxes after
the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from nfexport.errors import InputError
from nfexport.images.evaluate.classes import Classes, few

Row = tuple[int, str | None, str]
"""Line number, name of the image if the line has one, and class."""

HEADINGS = ("class", "index", "label", "target", "truth", "category", "class_id", "predictionstring")
"""Headers of a column of classes."""

KIT = (
    "'{path}' numbers classes from 1 in the order of the development kit (ILSVRC2012_ID), not in that of the network"
)
KIT_FIX = "pass --class-map FILE with a line 'ID synset' for each class, from the kit's meta.mat"


def read_truth(
    path: Path, images: Sequence[str], classes: Classes, *, base: int | None
) -> tuple[dict[str, int], str]:
    """Return the class of each image that the file names, and in words how the file was read.

    images are sorted. base is the number of the first class, or None to find out: 0 if the file has a 0, 1 if it has
    the number of classes. Raises InputError if it has neither or both, or does not fit the images or the classes."""
    rows, comma = _rows(path)
    index, how = _reader(path, [token for _, _, token in rows], classes, base, named=rows[0][1] is not None)
    if rows[0][1] is None:
        if len(rows) != len(images):
            raise InputError(
                f"'{path}' has {len(rows):,} lines for {len(images):,} images",
                fix="pass the list of exactly these images, or one with their names",
            )
        by_name = sorted(images, key=lambda name: (PurePosixPath(name).name, name))
        classes_in_order = {name: index(line, token) for name, (line, _, token) in zip(by_name, rows, strict=True)}
        return classes_in_order, f"one class per line in the order of names, {how}"
    find = _finder(images)
    missing = [str(name) for _, name, _ in rows if find(str(name)) is None]
    if missing:
        raise InputError(
            f"'{path}' names images that do not exist: {few(missing)}",
            fix="name the folder that they are in, or remove these lines",
        )
    found: dict[str, int] = {}
    for line, name, token in rows:
        image, its_class = str(find(str(name))), index(line, token)
        if found.setdefault(image, its_class) != its_class:
            raise InputError(f"'{path}' has two classes for '{image}'", fix=f"remove line {line}, or the other one")
    return found, f"a name and a class {'with commas' if comma else 'per line'}, {how}"


def read_class_map(path: Path, classes: Classes) -> dict[str, int]:
    """Return the class of each name in a file with lines 'name index' or 'name synset', or the same with commas.

    In a file of names alone, as timm's class maps are, the first name is class 0. Raises InputError if the file
    cannot be read, or has an index that is not that of a class."""
    rows, _ = _rows(path)
    if rows[0][1] is None:
        return {token: classes.check(row, f"'{path}', line {line}") for row, (line, _, token) in enumerate(rows)}
    result: dict[str, int] = {}
    for line, name, token in rows:
        index = _index(path, line, token, classes, base=0)
        if result.setdefault(str(name), index) != index:
            raise InputError(f"'{path}' has two classes for '{name}'", fix=f"remove line {line}, or the other one")
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
        raise InputError(f"'{path}' is empty", fix="pass a file with a line for each image or class")
    for number, own, _ in rows:
        if (own is None) != (rows[0][1] is None):
            raise InputError(
                f"'{path}' has another number of fields in line {number} than in line {rows[0][0]}",
                fix="correct the file",
            )
    return rows, comma


def _reader(
    path: Path, tokens: Sequence[str], classes: Classes, base: int | None, *, named: bool
) -> tuple[Callable[[int, str], int], str]:
    """Return the function that turns a line number and a class into an index, and in words what it does."""
    if (class_map := classes.class_map) is not None:
        return lambda line, token: _mapped(path, line, token, class_map), "by --class-map"
    if not all(token.isdecimal() for token in tokens):
        return lambda line, token: _index(path, line, token, classes, base=0), "classes by name"
    found = base if base is not None else _base(path, {int(token) for token in tokens}, classes)
    if found == 1 and not named and classes.labels == "imagenet-1k":
        raise InputError(KIT.format(path=path), fix=KIT_FIX)
    why = "" if base is not None else f", because it has a {0 if found == 0 else classes.count}"
    return lambda line, token: _index(path, line, token, classes, base=found), f"classes from {found}{why}"


def _base(path: Path, numbers: Iterable[int], classes: Classes) -> int:
    low, high = min(numbers), max(numbers)
    if low == 0 or high == classes.count:
        if low == 0 and high >= classes.count:
            classes.check(high, f"'{path}'")
        return 0 if low == 0 else 1
    classes.check(high, f"'{path}'")
    raise InputError(
        f"'{path}' has the classes {low} to {high} of {classes.count:,}, which may start at 0 or at 1",
        fix="pass --truth-base 0 or --truth-base 1",
    )


def _index(path: Path, line: int, token: str, classes: Classes, *, base: int) -> int:
    where = f"'{path}', line {line},"
    if token.isdecimal():
        if int(token) < base:
            raise InputError(f"{where} has the class {token}, but classes start at {base}", fix="pass --truth-base 0")
        return classes.check(int(token) - base, where)
    if token not in classes.by_name:
        raise InputError(f"{where} has '{token}', which is not a class of the file", fix="pass --class-map FILE")
    return classes.by_name[token]


def _mapped(path: Path, line: int, token: str, class_map: Mapping[str, int]) -> int:
    if token not in class_map:
        raise InputError(f"the class map does not have '{token}' ('{path}', line {line})", fix="add it to the map")
    return class_map[token]


def _finder(images: Sequence[str]) -> Callable[[str], str | None]:
    """Return the function that finds an image by its path in the folder, or by its name or stem if that is unique."""
    table: dict[str, str | None] = {}
    for image in images:
        pure = PurePosixPath(image)
        for key in {pure.name, pure.stem}:
            table[key] = None if key in table else image
    table.update({image: image for image in images})
    return lambda name: table.get(name.replace("\\", "/").removeprefix("./"))

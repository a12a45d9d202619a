"""The class of the images in a folder, by the name of the folder.

The first of these rules that applies to the names is used:

    class map          what --class-map says
    synsets            n01440764 …: the position in timm's list, for files whose labels are an ImageNet variant
    labels             the names of the classes in the file
    numbers            0, 1, 2 …: the index itself, with or without leading zeros
    order of names     the position among the sorted names, as in torchvision's ImageFolder; there must be as many
                       folders as classes

If sorting by code points (torchvision) and natural sorting (timm) give different orders, neither is used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nfexport.errors import InputError
from nfexport.images.evaluate.classes import SYNSET, Classes, few

MAP = "pass --class-map FILE with a line 'folder index' for each folder"


def class_indices(root: Path, folders: Mapping[str, bool], classes: Classes) -> tuple[dict[str, int], str]:
    """Return the class of each folder that has images, and the rule in words.

    folders maps the name of each folder to whether it has images. Raises InputError if the names do not match the
    classes of the file."""
    names = [name for name, filled in folders.items() if filled]
    if classes.class_map is not None:
        unknown = [name for name in names if name not in classes.class_map]
        if unknown:
            raise _mismatch(root, names, classes, f"the class map does not have {few(unknown)}", "add them to it")
        return _once({name: classes.class_map[name] for name in names}), "folders by --class-map"
    if all(SYNSET.fullmatch(name) for name in names) and classes.synsets is not None:
        which = f"timm's list of {classes.labels}" if isinstance(classes.labels, str) else "the file's list"
        return _by_name(root, names, classes, f"folders are synsets, in the order of {which}")
    if isinstance(classes.labels, tuple) and not all(name.isdecimal() for name in names):
        return _by_name(root, names, classes, "folders are the labels in the file")
    if all(name.isdecimal() for name in names):
        indices = {name: classes.check(int(name), f"the folder '{name}' in '{root}'") for name in names}
        return _once(indices), "folders are the numbers of their classes, from 0"
    return _by_order(root, folders, classes)


def _by_name(root: Path, names: list[str], classes: Classes, rule: str) -> tuple[dict[str, int], str]:
    unknown = [name for name in names if name not in classes.by_name]
    if unknown:
        raise _mismatch(root, names, classes, f"no class is called {few(unknown)}", MAP)
    return {name: classes.by_name[name] for name in names}, rule


def _by_order(root: Path, folders: Mapping[str, bool], classes: Classes) -> tuple[dict[str, int], str]:
    order = sorted(folders)
    if len(order) != classes.count:
        raise _mismatch(root, order, classes, f"the first are {few(order)}", MAP)
    empty = [name for name in order if not folders[name]]
    if empty:
        raise InputError(
            f"the class folders {few(empty)} in '{root}' are empty, so the order of names is uncertain",
            fix=f"remove them, or {MAP}",
        )
    if sorted(order, key=_natural) != order:
        first = next(name for name, other in zip(order, sorted(order, key=_natural), strict=True) if name != other)
        raise InputError(
            f"the class folders in '{root}' have no clear order: torchvision and timm differ from '{first}' on",
            fix=MAP,
        )
    return {name: index for index, name in enumerate(order)}, "folders in the order of their names"


def _natural(name: str) -> list[Any]:
    """Return timm's sort key, by which numbers in names are compared by value.

    Source: timm, utils/misc.py (natural_key)."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]


def _once(indices: dict[str, int]) -> dict[str, int]:
    index, times = Counter(indices.values()).most_common(1)[0]
    if times > 1:
        twice = [name for name, other in indices.items() if other == index]
        raise InputError(f"the folders {few(twice)} are all class {index}", fix="keep one folder for each class")
    return indices


def _mismatch(root: Path, names: list[str], classes: Classes, detail: str, fix: str) -> InputError:
    return InputError(
        f"the {len(names):,} class folders in '{root}' are not the file's {classes.count:,} classes: {detail}",
        fix=fix,
    )

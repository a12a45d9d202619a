"""Which class the pictures of a folder have, by the folder's name.

In this order, and the first that applies to the names decides:

    class map          what --class-map says
    synsets            n01440764 …: the place in timm's list, for files whose labels are an ImageNet
    labels             the names of the classes, as the file has them
    numbers            0, 1, 2 …: the index itself, whatever its leading zeros
    order of names     the place among the sorted names, as in torchvision's ImageFolder; the number of
                       folders has to be that of the classes

Where sorting by code points (torchvision) and by numbers within names (timm) give two orders, neither is taken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nfexport.errors import InputError
from nfexport.images.evaluate.classes import SYNSET, Classes, few

MAP = "pass --class-map FILE with a line 'folder index' for each"


def class_indices(root: Path, folders: Mapping[str, bool], classes: Classes) -> tuple[dict[str, int], str]:
    """Return the class of each folder that holds pictures, and the rule in words.

    folders maps names to whether there are pictures in it. Raises InputError if they do not match."""
    names = [name for name, filled in folders.items() if filled]
    if classes.given is not None:
        unknown = [name for name in names if name not in classes.given]
        if unknown:
            raise _mismatch(root, names, classes, f"the class map does not have {few(unknown)}", "add them to it")
        return _once({name: classes.given[name] for name in names}), "folders by --class-map"
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
        raise _mismatch(root, names, classes, f"{few(unknown)} is none of them", MAP)
    return {name: classes.by_name[name] for name in names}, rule


def _by_order(root: Path, folders: Mapping[str, bool], classes: Classes) -> tuple[dict[str, int], str]:
    order = sorted(folders)
    if len(order) != classes.count:
        raise _mismatch(root, order, classes, f"the first are {few(order)}", MAP)
    empty = [name for name in order if not folders[name]]
    if empty:
        raise InputError(
            f"the class folders {few(empty)} in '{root}' are empty, so the order of names is in doubt",
            fix=f"remove them, or {MAP}",
        )
    if sorted(order, key=_natural) != order:
        first = next(name for name, other in zip(order, sorted(order, key=_natural), strict=True) if name != other)
        raise InputError(
            f"the class folders in '{root}' have two orders: torchvision and timm differ from '{first}' on",
            fix=MAP,
        )
    return {name: index for index, name in enumerate(order)}, "folders in the order of their names"


def _natural(name: str) -> list[Any]:
    """The key of timm's sorting: numbers within names by their value. Source: timm, utils/misc.py (natural_key)."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]


def _once(indices: dict[str, int]) -> dict[str, int]:
    index, times = Counter(indices.values()).most_common(1)[0]
    if times > 1:
        twice = [name for name, its in indices.items() if its == index]
        raise InputError(f"the folders {few(twice)} are all class {index}", fix="keep one folder for each class")
    return indices


def _mismatch(root: Path, names: list[str], classes: Classes, detail: str, fix: str) -> InputError:
    return InputError(
        f"the {len(names):,} class folders in '{root}' are not the file's {classes.count:,} classes: {detail}",
        fix=fix,
    )

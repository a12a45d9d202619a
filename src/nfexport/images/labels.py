"""The names of a file's classes; for ImageNet's subsets the lemma of each synset ('tench, Tinca tinca').

Source: timm, data/imagenet_info.py (ImageNetInfo.label_descriptions).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nfexport.errors import InputError, MissingPackage
from nfexport.images import synsets


def label_names(source: str | tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    """Return the names of count classes: source is a subset of ImageNet ('imagenet-1k'), or holds the names.

    Classes with unknown names, and all where timm's lists are not installed, are called 'class 0' and so on.
    Raises InputError if the number of names is not count."""
    names = _of_subset(source) if isinstance(source, str) else source
    if names is None:
        return tuple(f"class {index}" for index in range(count))
    check_count(names, count, what=f"'{source}'" if isinstance(source, str) else "the list of labels")
    return names


def read_labels(path: Path, count: int | None = None) -> tuple[str, ...]:
    """Return the names in a file: one a line, a JSON list, or a JSON object of names by index.

    Raises InputError if the file cannot be read, or if count is given and the number of names is another."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"the labels '{path}' cannot be read ({reason})", fix="check the path") from error
    if text.lstrip()[:1] in ("[", "{"):
        names = _from_json(path, text)
    else:
        names = tuple(line.strip() for line in text.rstrip().splitlines())
    if count is not None:
        check_count(names, count, what=f"'{path}'")
    return names


def check_count(names: tuple[str, ...], count: int, *, what: str) -> None:
    """Raise InputError if the number of names is not count; what says in words where the names are from."""
    if len(names) != count:
        raise InputError(
            f"{what} has {len(names):,} labels, the file has {count:,} classes", fix="pass the labels of this model"
        )


def _from_json(path: Path, text: str) -> tuple[str, ...]:
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"the labels '{path}' are not JSON ({error})", fix="write one name per line instead"
        ) from error
    if isinstance(value, dict):
        by_index = {int(key): name for key, name in value.items() if key.isdecimal()}
        if len(by_index) != len(value) or sorted(by_index) != list(range(len(value))):
            raise InputError(
                f"the labels '{path}' are not numbered from 0 to {len(value) - 1:,}",
                fix="number the classes from 0 without gaps",
            )
        value = [by_index[index] for index in range(len(by_index))]
    return tuple(str(name) for name in value)


def _of_subset(subset: str) -> tuple[str, ...] | None:
    try:
        found = synsets.synsets(subset)
        words = synsets.lemmas() if found is not None else {}
    except MissingPackage:
        return None
    return None if found is None else tuple(words.get(synset, synset) for synset in found)

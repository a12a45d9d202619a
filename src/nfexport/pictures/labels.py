"""What the classes of a file are called.

The names of ImageNet's subsets are timm's: WordNet's synsets, and the lemma of each ('tench, Tinca tinca'). They
are read from the files that come with timm (data/_info, Apache-2.0), without importing it.
Source: timm, data/imagenet_info.py (ImageNetInfo.label_descriptions).
"""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

from nfexport.errors import InputError

SUBSETS = {
    "imagenet-1k": "imagenet_synsets.txt",
    "imagenet-12k": "imagenet12k_synsets.txt",
    "imagenet-21k": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-goog": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-miil": "imagenet21k_miil_synsets.txt",
    "imagenet-22k": "imagenet22k_synsets.txt",
    "imagenet-22k-ms": "imagenet22k_ms_synsets.txt",
}
"""timm's file of each subset, by the names that infer_imagenet_subset gives."""

LEMMAS = "imagenet_synset_to_lemma.txt"


def label_names(source: str | tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    """Return the name of each of count classes: of a subset of ImageNet, or as they stand in source.

    Classes of which nobody knows a name are 'class 0' and so on, also where timm is not installed.
    Raises InputError if there are not as many names as classes."""
    names = _of_subset(source) if isinstance(source, str) else source
    if names is None:
        return tuple(f"class {index}" for index in range(count))
    check_count(names, count, what=f"'{source}'" if isinstance(source, str) else "the list of labels")
    return names


def read_labels(path: Path, count: int) -> tuple[str, ...]:
    """Return the names in a file: one a line, a JSON list, or a JSON object of names by index.

    Raises InputError if it cannot be read, or has not one name for each of count classes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise InputError(f"the labels '{path}' cannot be read ({reason})", fix="check the path") from error
    if text.lstrip()[:1] in ("[", "{"):
        names = _from_json(path, text, count)
    else:
        names = tuple(line.strip() for line in text.rstrip().splitlines())
    check_count(names, count, what=f"'{path}'")
    return names


def check_count(names: tuple[str, ...], count: int, *, what: str) -> None:
    """Raise InputError if there are not as many names as classes; what holds the names."""
    if len(names) != count:
        raise InputError(
            f"{what} has {len(names):,} labels, the file has {count:,} classes", fix="pass the labels of this model"
        )


def _from_json(path: Path, text: str, count: int) -> tuple[str, ...]:
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"the labels '{path}' are not JSON ({error})", fix="write one name a line instead"
        ) from error
    if isinstance(value, dict):
        by_index = {int(key): name for key, name in value.items() if key.isdecimal()}
        if len(by_index) != len(value) or sorted(by_index) != list(range(len(value))):
            raise InputError(
                f"the labels '{path}' are not numbered from 0 to {len(value) - 1:,}",
                fix=f"number the {count:,} classes from 0 without gaps",
            )
        value = [by_index[index] for index in range(len(by_index))]
    return tuple(str(name) for name in value)


def _of_subset(subset: str) -> tuple[str, ...] | None:
    folder = _info_folder()
    if folder is None or subset not in SUBSETS:
        return None
    try:
        synsets = (folder / SUBSETS[subset]).read_text(encoding="utf-8").split()
        lemmas = (folder / LEMMAS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    by_synset = dict(csv.reader(lemmas, delimiter="\t"))
    return tuple(by_synset.get(synset, synset) for synset in synsets)


def _info_folder() -> Path | None:
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "data" / "_info"

"""The classes of a file, and which of them a name stands for."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from nfexport.errors import InputError
from nfexport.images import synsets
from nfexport.recipe.recipe import Recipe

SYNSET = re.compile(r"n\d{8}")
SHOWN = 3
"""Names that a message lists of many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes:
    """The number of classes, their labels as in a recipe, and the class map that was given, from names to indices."""

    count: int
    labels: str | tuple[str, ...] | None = None
    class_map: Mapping[str, int] | None = None

    @functools.cached_property
    def synsets(self) -> tuple[str, ...] | None:
        """The synsets in the order of the outputs, for ImageNet and its variants; None for other classes."""
        if isinstance(self.labels, tuple):
            return self.labels if all(SYNSET.fullmatch(label) for label in self.labels) else None
        found = None if self.labels is None else synsets.synsets(self.labels)
        return found if found is not None and len(found) == self.count else None

    @functools.cached_property
    def by_name(self) -> dict[str, int]:
        """The index of each synset, or of each label that is unique."""
        if isinstance(self.labels, tuple):
            times = Counter(self.labels)
            return {name: i for i, name in enumerate(self.labels) if times[name] == 1}
        return {name: i for i, name in enumerate(self.synsets or ())}

    @functools.cached_property
    def names(self) -> tuple[str, ...] | None:
        """A readable name for each class, None if the names are unknown."""
        if isinstance(self.labels, tuple) and len(self.labels) == self.count:
            return self.labels
        if self.synsets is None:
            return None
        words = synsets.lemmas()
        return tuple(words.get(synset, synset) for synset in self.synsets)

    def check(self, index: int, what: str) -> int:
        """Return the index. Raises InputError, which begins with what, unless it is the index of a class."""
        if not 0 <= index < self.count:
            raise InputError(
                f"{what} has the class {index}, but the {self.count:,} classes of the file end at {self.count - 1}",
                fix="check that the data has these classes, or pass --class-map",
            )
        return index


def classes_of(recipe: Recipe, class_map: Mapping[str, int] | None = None) -> Classes:
    """Return the classes of the recipe's file."""
    return Classes(count=recipe.num_classes, labels=recipe.labels, class_map=class_map)


def few(names: Sequence[str]) -> str:
    """Return the first few names as text: 'a', 'b', 'c' and 7 more."""
    text = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return text + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

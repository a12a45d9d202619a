"""The classes that a file tells apart, and which of them a name stands for."""

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
"""Names in a message, of many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes:
    """count classes; labels as in Recipe; given is a class map, which says what names stand for."""

    count: int
    labels: str | tuple[str, ...] | None = None
    given: Mapping[str, int] | None = None

    @functools.cached_property
    def synsets(self) -> tuple[str, ...] | None:
        """The synsets in the order of the outputs, for the ImageNets; None for other classes."""
        if isinstance(self.labels, tuple):
            return self.labels if all(SYNSET.fullmatch(label) for label in self.labels) else None
        found = None if self.labels is None else synsets.synsets(self.labels)
        return found if found is not None and len(found) == self.count else None

    @functools.cached_property
    def by_name(self) -> dict[str, int]:
        """The index of each synset, or of each label."""
        if isinstance(self.labels, tuple):
            times = Counter(self.labels)
            # a name that two classes share stands for neither
            return {name: i for i, name in enumerate(self.labels) if times[name] == 1}
        return {name: i for i, name in enumerate(self.synsets or ())}

    @functools.cached_property
    def names(self) -> tuple[str, ...] | None:
        """A name for people for each class, None if nobody knows."""
        if isinstance(self.labels, tuple) and len(self.labels) == self.count:
            return self.labels
        if self.synsets is None:
            return None
        words = synsets.lemmas()
        return tuple(words.get(synset, synset) for synset in self.synsets)

    def check(self, index: int, what: str) -> int:
        """Return the index, if it is that of a class. Raises InputError."""
        if not 0 <= index < self.count:
            raise InputError(
                f"{what} has the class {index}, and the file's {self.count:,} classes end at {self.count - 1}",
                fix="check that the data are of these classes, or pass --class-map",
            )
        return index


def classes_of(recipe: Recipe, given: Mapping[str, int] | None = None) -> Classes:
    """Return the classes of the recipe's file."""
    return Classes(count=recipe.num_classes, labels=recipe.labels, given=given)


def few(names: Sequence[str]) -> str:
    """Name the first few: 'a', 'b', 'c' and 7 more."""
    text = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return text + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

"""Which output of one side belongs to which of the other."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.errors import InputError


def pair_outputs(first: Sequence[str], second: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of outputs: those of the same name, or all of them in order if none has.

    Outputs that only one side has are left out, if others have the same name. Raises InputError if there are no equal
    names, and not as many outputs."""
    shared = [name for name in first if name in second]
    if shared:
        return tuple((name, name) for name in shared)
    if len(first) == len(second):
        return tuple(zip(first, second, strict=True))
    raise InputError(
        f"A returns {', '.join(first)} and B returns {', '.join(second)}: none has the same name",
        fix="rename them, or keep those that belong together: nfexport surgery IN -o OUT --extract-outputs NAME,...",
    )

"""Products that are written as an equation.

Einsum (12)    before, for two operands: transposed and broadcast, then a MatMul over one summed letter

Each letter of the equation is an axis. The rows of the MatMul are the last letter that only the first operand has,
its columns the last that only the second has, and it sums over the letter that the result lacks. Every other letter
is an axis of the batch, over which an operand without it is broadcast. So no size has to be known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from nfexport.passes.opset.rules.axes import emit_with_axes
from nfexport.passes.opset.rules.rewrite_site import RewriteSite, Rule, SketchedValue, Source

SketchedValues = Sequence[SketchedValue | None]
T = TypeVar("T", bound=Source)

_TWO_OPERANDS = re.compile(r"([A-Za-z]+),([A-Za-z]+)->([A-Za-z]*)")


def einsum(site: RewriteSite) -> SketchedValues:
    """Carry Einsum; before opset 12 the letters of the equation become axes of a MatMul."""
    if site.target >= 12:
        return site.keep()
    raw = site.attribute("equation", b"")
    equation = (raw.decode() if isinstance(raw, bytes) else str(raw)).replace(" ", "")
    found = _TWO_OPERANDS.fullmatch(equation)
    second = site.input(1)
    if found is None or second is None or any(len(set(term)) < len(term) for term in found.groups()):
        site.refuse(f"opset {site.target} has no operator Einsum, and {equation!r} has no other form")
    first_term, second_term, result = found.groups()
    summed = [letter for letter in first_term if letter in second_term and letter not in result]
    lost = (set(first_term) ^ set(second_term)) - set(result)
    if len(summed) != 1 or lost:
        site.refuse(f"opset {site.target} has no operator Einsum, and {equation!r} is not a product of matrices")
    rows = [letter for letter in result if letter not in second_term][-1:]
    columns = [letter for letter in result if letter not in first_term][-1:]
    batch = [letter for letter in result if letter not in (*rows, *columns)]
    a = _aligned(site, site.x(), first_term, [*batch, *(rows or [""]), summed[0]])
    b = _aligned(site, second, second_term, [*batch, summed[0], *(columns or [""])])
    product = site.emit("MatMul", a, b)
    idle = [len(batch)] * (not rows) + [len(batch) + 1] * (not columns)
    if idle:
        product = emit_with_axes(site, "Squeeze", product, idle)
    return [_ordered(site, product, [*batch, *rows, *columns], list(result))]


def _aligned(site: RewriteSite, operand: Source, term: str, wanted: Sequence[str]) -> Source:
    """Bring the axes into the order that is wanted, with an axis of length 1 for each letter that is missing."""
    there = [letter for letter in wanted if letter in term and letter]
    value = _ordered(site, operand, list(term), there)
    missing = [axis for axis, letter in enumerate(wanted) if letter not in there]
    return emit_with_axes(site, "Unsqueeze", value, missing) if missing else value


def _ordered(site: RewriteSite, value: T, letters: list[str], wanted: list[str]) -> T | SketchedValue:
    if letters == wanted:
        return value
    return site.emit("Transpose", value, perm=[letters.index(letter) for letter in wanted])


RULES: dict[str, Rule] = {"Einsum": einsum}

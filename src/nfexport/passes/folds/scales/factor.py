"""The factor that a value of the graph carries: a scalar, or one number per channel."""

from __future__ import annotations

import msgspec

from nfexport.graph.libraries import Array, np

_SAME = 1e-12
"""Relative difference below which two float64 factors are one: they come from the same numbers by way of
different products and reciprocals."""


class Refusal(Exception):  # noqa: N818 - a reason that never reaches a user as an error
    """The reason why a factor cannot move; the text completes 'left alone, because …'."""


class Factor(msgspec.Struct, frozen=True, eq=False):
    """values float64: a scalar with axis None, or a vector along this axis of the value that carries it."""

    values: Array
    axis: int | None = None

    @classmethod
    def of(cls, values: Array, axis: int | None = None) -> Factor:
        """Return the factor; a vector of equal numbers becomes a scalar, which passes through more."""
        values = np.asarray(values, dtype=np.float64)
        if axis is None or (values == values.flat[0]).all():
            return cls(np.asarray(values.flat[0]))
        return cls(values.reshape(-1), axis)

    @classmethod
    def one(cls) -> Factor:
        """Return the factor that changes nothing."""
        return cls(np.asarray(1.0))

    @property
    def is_one(self) -> bool:
        """True if the factor changes nothing."""
        return self.axis is None and float(self.values) == 1.0

    @property
    def is_positive(self) -> bool:
        """True if every number of the factor is above 0."""
        return bool((self.values > 0).all())

    def matches(self, other: Factor) -> bool:
        """Return whether both are the same factor, but for the rounding of float64."""
        return (
            self.axis == other.axis
            and self.values.shape == other.values.shape
            and bool(np.allclose(self.values, other.values, rtol=_SAME, atol=0))
        )

    def inverse(self) -> Factor:
        """Return the factor that undoes this one."""
        return Factor(np.asarray(1.0 / self.values), self.axis)

    def times(self, other: Factor) -> Factor:
        """Return the product. Raises Refusal if the two vary along different axes."""
        if None not in (self.axis, other.axis) and self.axis != other.axis:
            raise Refusal("factors along two axes meet")
        values = self.values * other.values
        if np.allclose(values, 1.0, rtol=0, atol=_SAME):
            return Factor.one()
        return Factor.of(values, self.axis if other.axis is None else other.axis)

    def along(self, axis: int | None) -> Factor:
        """Return the same numbers along another axis."""
        return self if self.axis is None else Factor(self.values, axis)

    def shaped(self, rank: int) -> Array:
        """Return the numbers in a shape that broadcasts against an array of this rank."""
        if self.axis is None:
            return self.values
        shape = [1] * rank
        shape[self.axis] = -1
        return self.values.reshape(shape)

"""The step that records a quantisation in a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from nfexport.recipe.validation import Digest, Natural, Positive

QUANTIZE = "quantize"
"""Its name among the steps of a recipe."""

Method = Literal["minmax", "entropy", "percentile"]
"""How the range of a tensor is taken from its values on the calibration images."""

Error = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class CalibrationRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The calibration images of a file: their number, and the seed of seeded ones or the sha256 of those of a folder.

    sha256 is the digest of the digests of the files' contents, in the order of their paths."""

    source: Literal["seeded", "folder"]
    images: Positive
    seed: Natural | None = None
    sha256: Digest | None = None


class QuantizeParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file was quantised to int8, and the resulting error.

    kept names the layers that stay in float; error is the largest rms error relative to an output's range, bound what
    a verification allows; graph_sha256 is the digest of the int8 graph."""

    form: Literal["int8"]
    method: Method
    calibration: CalibrationRecord
    keep_float: tuple[str, ...]
    keep_worst: Natural | None
    kept: tuple[str, ...]
    error: Error
    bound: Error
    graph_sha256: Digest


class QuantizeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a quantisation, as an operation of a recipe keeps them.

    calibrate is the number of seeded images; None if there was a folder of them, which a recipe does not hold."""

    calibrate: Positive | None = None
    keep_float: tuple[str, ...] = ()
    keep_worst: Natural | None = None
    method: Method = "minmax"
    seed: Natural = 0

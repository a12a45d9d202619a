"""The digest of a file, in little memory."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_PIECE = 2**22
"""Bytes read at a time."""


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's bytes, in hexadecimal. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        if sys.version_info >= (3, 11):
            digest = hashlib.file_digest(file, algorithm)
        else:
            digest = hashlib.new(algorithm)
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()

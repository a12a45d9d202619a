"""The classes of the ImageNet variants, as timm lists them: synsets in the order of the network's outputs, and names.

The lists are read from the files that timm installs (data/_info, Apache-2.0), without importing timm.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from nfexport.errors import MissingPackage

LISTS = {
    "imagenet-1k": "imagenet_synsets.txt",
    "imagenet-12k": "imagenet12k_synsets.txt",
    "imagenet-22k": "imagenet22k_synsets.txt",
    "imagenet-21k": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-goog": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-miil": "imagenet21k_miil_synsets.txt",
    "imagenet-22k-ms": "imagenet22k_ms_synsets.txt",
}
"""Source: timm, data/imagenet_info.py (_SUBSETS)."""

LEMMAS = "imagenet_synset_to_lemma.txt"


def synsets(labels: str) -> tuple[str, ...] | None:
    """Return the synsets of a variant such as 'imagenet-1k', in the order of the outputs; None for an unknown name.

    Raises MissingPackage without timm."""
    return tuple(_read(LISTS[labels]).split()) if labels in LISTS else None


def lemmas() -> dict[str, str]:
    """Return the lemmas of each synset: n01440764 is 'tench, Tinca tinca'. Raises MissingPackage without timm."""
    pairs = (line.split("\t", 1) for line in _read(LEMMAS).splitlines())
    return {pair[0]: pair[1].strip().strip('"') for pair in pairs if len(pair) == 2}


def _read(name: str) -> str:
    spec = importlib.util.find_spec("timm")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "data" / "_info" / name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise MissingPackage(f"timm's list '{name}' is not installed", fix="install it with: pip install 'timm>=1.0'")

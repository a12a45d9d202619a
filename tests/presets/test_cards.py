"""The model cards of the presets in docs/cards/ are what `make cards` writes today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nfexport
from nfexport.presets import list_presets

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "docs" / "cards"
STYLES: dict[str, str] = {
    name: style
    for line in re.findall(r"^CARDS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for name, _, style in (entry.rpartition(".") for entry in line.split())
}
QUICK = "efficientnet-b0-pytorch"


def test_every_preset_has_a_card() -> None:
    names = {preset.name for preset in list_presets()}
    assert names == set(STYLES) == {path.name.removesuffix(".md") for path in CARDS.iterdir()}


@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in STYLES]
)
def test_the_card_is_current(name: str, tmp_path: Path) -> None:
    path = nfexport.export_preset(name, tmp_path / f"{name}.onnx", verify=False).path
    assert (CARDS / f"{name}.md").read_text(encoding="utf-8") == nfexport.card(path, style=STYLES[name])

"""An output format: onnx's own text form of a graph, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nfexport.formats import Format, InputForms


class OnnxText(Format):
    """The graph as text, for reading and for diffs."""

    name = "onnxtxt"
    title = "ONNX text"
    suffixes = (".onnxtxt",)

    def check(self) -> None:
        """Nothing but onnx is needed."""

    def convert(self, onnx_file: Path, folder: Path, stem: str, options: Mapping[str, Any]) -> Path:
        """Write the text."""
        import onnx

        from nfexport.graph.header import read_header

        target = folder / f"{stem}.onnxtxt"
        target.write_text(onnx.printer.to_text(read_header(onnx_file)), encoding="utf-8")
        return target

    def read_metadata(self, path: Path) -> dict[str, str]:
        """The text keeps no metadata that can be trusted."""
        return {}

    def read_inputs(self, path: Path) -> InputForms:
        """The text is not run."""
        return {}

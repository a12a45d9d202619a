"""Formats are found by their files and by entry points, and declare all that an export asks of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nfexport import formats
from nfexport.errors import InputError, RecipeError
from nfexport.formats import Format, InputForms
from nfexport.recipe.option import Option
from tests.conftest import Installing


class Upper(Format):
    """The bytes of a file, in capital letters."""

    name = "upper"
    title = "a toy"
    suffixes = (".upper", ".note")
    options = (Option(flag="--upper-note", help="A note.", kind="text", default=""),)

    def check(self) -> None:
        """Need nothing."""

    def convert(self, onnx_file: Path, folder: Path, stem: str, options: Mapping[str, Any]) -> Path:
        """Write both files."""
        written = folder / f"{stem}.upper"
        written.write_bytes(onnx_file.read_bytes().upper())
        written.with_suffix(".note").write_text(options["upper_note"], encoding="utf-8")
        return written

    def read_metadata(self, path: Path) -> dict[str, str]:
        """Keep none."""
        return {}

    def read_inputs(self, path: Path) -> InputForms:
        """Take none."""
        return {}


@pytest.fixture
def toy(installing: Installing) -> None:
    """Install a package that adds the toy format, and an entry point that is not a format."""
    installing(formats.GROUP, upper=f"{__name__}:Upper", path=f"{__name__}:Path")


def test_formats_are_found_by_their_files_and_imported_without_their_packages() -> None:
    assert formats.names() == ("openvino",)
    code = (
        "import sys; from nfexport import formats\n"
        "print(formats.get('openvino').options[0].flag, {'openvino', 'onnx', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "--ir-precision set()\n"


@pytest.mark.usefixtures("toy")
def test_a_format_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    assert formats.names() == ("openvino", "path", "upper")
    toy = formats.get("upper")
    source = tmp_path / "net.onnx"
    source.write_bytes(b"abc")
    assert toy.targets(source) == (tmp_path / "net.upper", tmp_path / "net.note")
    written = toy.convert(source, tmp_path, "net", toy.values({"upper_note": "hello", "ir_precision": "fp16"}))
    assert written.read_bytes() == b"ABC"
    assert (tmp_path / "net.note").read_text() == "hello"
    assert toy.runtime is None


@pytest.mark.usefixtures("toy")
def test_what_is_not_a_format_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"'path' is not a subclass of nfexport\.formats\.Format"):
        formats.get("path")
    with pytest.raises(InputError, match="there is no output format 'tflite'; use one of openvino, path, upper"):
        formats.get("tflite")


def test_a_file_belongs_to_the_format_of_its_suffix() -> None:
    assert getattr(formats.of_file(Path("net.xml")), "name", None) == "openvino"
    assert formats.of_file(Path("net.onnx")) is None


def test_a_broken_package_does_not_stop_the_formats_that_work(toy: None) -> None:
    assert getattr(formats.of_file(Path("net.xml")), "name", None) == "openvino"


def test_options_have_their_defaults_and_their_choices() -> None:
    openvino = formats.get("openvino")
    assert openvino.values({}) == {"ir_precision": "fp32"}
    assert openvino.values({"ir_precision": "fp16", "opset": 11}) == {"ir_precision": "fp16"}
    with pytest.raises(RecipeError, match="--ir-precision does not know 'int4'; use one of fp32, fp16"):
        openvino.values({"ir_precision": "int4"})


@pytest.mark.usefixtures("toy")
def test_an_option_of_a_format_that_was_not_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "names", lambda: ("openvino", "upper"))
    formats.check_options("openvino", {"ir_precision": "fp16", "upper_note": None})
    formats.check_options(None, {"ir_precision": "fp32", "upper_note": ""})
    message = "--ir-precision fp16 is an option of OpenVINO's IR, which was not asked for; add --to openvino"
    for chosen in (None, "upper"):
        with pytest.raises(RecipeError, match=message):
            formats.check_options(chosen, {"ir_precision": "fp16"})


def test_the_inputs_of_an_ir_are_read_from_its_graph(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"")
    (tmp_path / "net.xml").write_text(
        '<net><layers><layer name="image" type="Parameter"><data shape="?,3,8,8" element_type="u8"/></layer>'
        '<layer name="out" type="Result"/></layers></net>'
    )
    assert formats.get("openvino").read_inputs(tmp_path / "net.xml") == {"image": ((None, 3, 8, 8), "uint8")}

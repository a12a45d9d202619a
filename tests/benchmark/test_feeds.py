from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from nfexport.benchmark.feeds import draw_feeds, read_forms
from nfexport.errors import InputError, OnnxFileError
from tests.benchmark.files import write

IR_TEXT = """<net name="n" version="11"><layers><layer id="0" name="image" type="Parameter" version="opset1">
<data shape="{shape}" element_type="u8"/></layer><layer id="1" name="y" type="Result"/></layers></net>"""


def ir(folder: Path, shape: str) -> Path:
    (folder / "m.bin").write_bytes(b"")
    (folder / "m.xml").write_text(IR_TEXT.format(shape=shape))
    return folder / "m.xml"


def test_a_symbolic_batch_and_size_are_those_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", shape=("n", 3, "h", "w"))
    assert read_forms(path, batch=4, size=(32, 48)) == {"x": ((4, 3, 32, 48), "float32")}


def test_a_size_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", shape=("n", 3, "h", "w"))
    with pytest.raises(InputError, match="--size"):
        read_forms(path, batch=1, size=None)


def test_a_fixed_batch_is_not_run_at_another(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", shape=(2, 3, 8, 8))
    assert read_forms(path, batch=2, size=None)["x"][0] == (2, 3, 8, 8)
    with pytest.raises(InputError, match=r"the batch size of .* is fixed to 2, not 1.*--batch 2"):
        read_forms(path, batch=1, size=None)


def test_bytes_are_fed_to_a_file_of_bytes(tmp_path: Path) -> None:
    forms = read_forms(write(tmp_path / "m.onnx", dtype=TensorProto.UINT8), batch=1, size=None)
    array = draw_feeds(forms)["x"]
    assert array.dtype == np.uint8
    assert array.max() > 200


def test_feeds_are_the_same_each_time() -> None:
    forms = {"x": ((2, 3), "float32"), "k": ((1,), "int64")}
    first, second = draw_feeds(forms), draw_feeds(forms)
    assert (first["x"] == second["x"]).all()
    assert first["x"].std() > 0
    assert first["k"].tolist() == [0]


def test_an_ir_tells_its_inputs(tmp_path: Path) -> None:
    path = ir(tmp_path, "?,3,?,?")
    assert read_forms(path, batch=3, size=(16, 24)) == {"image": ((3, 3, 16, 24), "uint8")}
    with pytest.raises(InputError, match="dim 2 of input 'image'"):
        read_forms(path, batch=3, size=None)


def test_an_ir_of_a_fixed_batch_is_not_run_at_another(tmp_path: Path) -> None:
    path = ir(tmp_path, "1,3,8,8")
    with pytest.raises(InputError, match="is fixed to 1, not 2"):
        read_forms(path, batch=2, size=None)


@pytest.mark.parametrize("text", ["no xml", "<net/>"])
def test_another_xml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.xml").write_text(text)
    with pytest.raises(OnnxFileError, match=r"m\.xml"):
        read_forms(tmp_path / "m.xml", batch=1, size=None)

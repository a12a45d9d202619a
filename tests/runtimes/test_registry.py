"""Runtimes: found by their files and by entry points, described without being imported, loaded when asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nfexport.errors import InputError, MissingPackage
from nfexport.runtimes import Runtime, find, open_session, runtimes
from nfexport.runtimes.session import registry
from tests.conftest import Installing
from tests.verification.toy import CLASSES, SIZE, to_onnx, toy, weights

BUILT_IN = ("migraphx", "onnxruntime", "opencv", "openvino", "reference")

TOY = """
import dataclasses

from nfexport.runtimes import Runtime, onnxruntime


def load_absent():
    import a_package_that_is_not_installed


def open_session(model):
    session = onnxruntime.open_session(model)
    session.runtime = "toy"
    return session


RUNTIME = Runtime(name="toy", summary="a toy", install="pip install toy", load=int, open_session=open_session)
ABSENT = dataclasses.replace(RUNTIME, name="absent", load=load_absent)
"""


@pytest.fixture
def adding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installing: Installing) -> Iterator[Installing]:
    """Return a function that puts entry points of the group into place, each a module and an attribute of it."""
    (tmp_path / "toy_runtime.py").write_text(TOY)
    (tmp_path / "broken_runtime.py").write_text("raise OSError('no such library')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield partial(installing, registry.GROUP)
    for name in ("toy_runtime", "broken_runtime"):
        sys.modules.pop(name, None)


def test_every_file_is_a_runtime_of_its_name() -> None:
    assert registry.built_in() == BUILT_IN
    assert set(BUILT_IN) <= set(runtimes())
    for name in BUILT_IN:
        runtime = find(name)
        assert runtime.name == name
        assert runtime.summary
        assert not runtime.install.endswith(".")


def test_what_they_declare_is_read_without_their_packages() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "openvino", "cv2"}
    script = (
        "import sys; from nfexport.runtimes import find, runtimes; [find(n) for n in runtimes()]; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_each_optional_runtime_has_an_extra() -> None:
    tomllib = pytest.importorskip("tomllib", reason="it came with Python 3.11")
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    optional = [name for name in BUILT_IN if find(name).install == f"pip install 'nfexport[{name}]'"]
    assert optional == ["opencv", "openvino"]
    for name in optional:
        assert len(extras[name]) == 1


def test_an_entry_point_adds_a_runtime(adding: Installing) -> None:
    adding(toy="toy_runtime:RUNTIME")
    assert runtimes() == (*BUILT_IN, "toy")
    assert isinstance(find("toy"), Runtime)
    session = open_session(to_onnx(weights(toy())), runtime="toy")
    assert session.runtime == "toy"
    assert session.run({"image": np.zeros((1, 3, *SIZE), np.float32)})["logits"].shape == (1, CLASSES)


def test_a_runtime_of_another_package_does_not_replace_one_of_ours(adding: Installing) -> None:
    adding(onnxruntime="toy_runtime:RUNTIME")
    assert runtimes() == BUILT_IN
    assert find("onnxruntime").summary.startswith("ONNX Runtime")


def test_an_unknown_runtime_is_refused_with_those_that_there_are(adding: Installing) -> None:
    adding(toy="toy_runtime:RUNTIME")
    with pytest.raises(InputError, match=r"there is no runtime 'tract'; use one of migraphx, .*, reference, toy$"):
        open_session(b"", runtime="tract")


def test_a_missing_package_is_named_with_how_to_install_it(adding: Installing) -> None:
    adding(absent="toy_runtime:ABSENT")
    with pytest.raises(MissingPackage, match=r"'absent' cannot be imported \(No module named .*\); pip install toy$"):
        open_session(b"", runtime="absent")


def test_a_package_whose_entry_point_cannot_be_imported_is_named(adding: Installing) -> None:
    adding(broken="broken_runtime:RUNTIME")
    with pytest.raises(InputError, match=r"'broken' of the package toys.* \(OSError: no such library\)"):
        open_session(b"", runtime="broken")


def test_an_entry_point_that_does_not_name_a_runtime_is_refused(adding: Installing) -> None:
    adding(toy="toy_runtime")
    with pytest.raises(
        InputError, match=r"names a module instead of a Runtime; let it name .*'package\.module:RUNTIME'"
    ):
        find("toy")
    assert isinstance(sys.modules["toy_runtime"], ModuleType)


def test_threads_are_for_the_runtimes_that_take_them(adding: Installing) -> None:
    adding(toy="toy_runtime:RUNTIME")
    for runtime in ("reference", "toy"):
        with pytest.raises(
            InputError,
            match=f"'{runtime}' cannot be told how many threads to use; .* use one of onnxruntime, openvino$",
        ):
            open_session(to_onnx(weights(toy())), runtime=runtime, threads=1)
    assert open_session(to_onnx(weights(toy())), threads=1).runtime == "onnxruntime"


def test_providers_are_left_to_the_runtimes_that_take_them() -> None:
    assert open_session(to_onnx(weights(toy())), runtime="reference", providers=["cuda"]).providers == ()

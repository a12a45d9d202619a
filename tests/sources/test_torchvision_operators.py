"""torch and torchvision of different builds: timm imports all the same, or one sentence says why not."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nfexport.errors import MissingPackage
from nfexport.sources.timm import torchvision_operators


def run_with_fake_torchvision(folder: Path, body: str, code: str) -> str:
    """Run code where `import torchvision` runs body instead."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{folder}:{Path(__file__).parents[2] / 'src'}", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NEEDS_OPERATOR = """
    import torch
    torch.ops.torchvision.nms  # not registered in a build for another torch
    try:
        torch.library.register_fake("torchvision::nms")(lambda *_: None)
    except RuntimeError as error:
        raise RuntimeError("operator torchvision::nms does not exist") from error
"""


def test_missing_operators_are_declared_and_the_import_tried_again(tmp_path: Path) -> None:
    code = """
        from nfexport.sources.timm.torchvision_operators import _import_torchvision
        _import_torchvision()
        import sys, torch
        print("torchvision" in sys.modules, torch.ops.torchvision.nms.default)
    """
    body = NEEDS_OPERATOR.replace("torch.ops.torchvision.nms  #", "hasattr(torch.ops.torchvision, 'nms')  #")
    assert run_with_fake_torchvision(tmp_path, body, code).strip() == "True torchvision.nms.default"


@pytest.mark.slow
def test_timm_imports_beside_the_real_torchvision_without_its_library(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    compiled = shutil.ignore_patterns("*.so", "*.so.*", "*.pyd", "*.dylib", "__pycache__")
    shutil.copytree(Path(spec.origin).parent, tmp_path / "torchvision", ignore=compiled)
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2] / 'src'}", "PATH": ""}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )

    assert "operator torchvision::nms does not exist" in run("import torchvision").stderr
    done = run(
        "from nfexport.sources.timm.torchvision_operators import import_timm; import_timm()\n"
        "import torchvision; from timm.data import create_transform; create_transform(64)\n"
        "print(torchvision.__file__)"
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_a_pair_that_is_broken_otherwise_is_one_sentence(tmp_path: Path) -> None:
    code = """
        from nfexport.errors import MissingPackage
        from nfexport.sources.timm.torchvision_operators import _import_torchvision
        try:
            _import_torchvision()
        except MissingPackage as error:
            print(error, error.exit_code)
    """
    said = run_with_fake_torchvision(tmp_path, "raise RuntimeError('undefined symbol: x')", code)
    assert "do not work together (undefined symbol: x); install a matching pair" in said
    assert said.strip().endswith("3")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(MissingPackage, match="the package 'torchvision' is not installed") as caught:
        torchvision_operators.import_timm()
    assert caught.value.fix == "pip install torchvision"

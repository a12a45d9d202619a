"""Who imports whom, and what start-up costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "nfexport"

LAYERS = (
    {"errors", "progress", "process"},
    {"extensions"},
    {"recipe"},
    {"graph"},
    {"passes", "sources", "runtimes", "presets", "interpreter"},
    {"inspection"},
    {"tracing", "verification", "targets", "images", "benchmark", "formats"},
    {"quantization", "cards", "goldens"},
    {"workflows"},
    {"cli", "pytest_plugin"},
    {"__main__"},
)
"""From the bottom up: a module imports from layers below its own, or from its own package."""

HEAVY = {"torch", "timm", "onnx", "onnxruntime", "numpy", "rich"}

SLOW = {"importlib.metadata", "logging", "hashlib", "json", "tempfile", "difflib"}
"""Parts of the standard library that would be a third of a help page."""


def top_level_imports() -> dict[str, set[str]]:
    """Return, for each package or module directly under nfexport, which others it imports, anywhere."""
    arrows: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        relative = path.relative_to(SOURCE)
        home = relative.parts[0].removesuffix(".py")
        if home == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                parts = name.split(".")
                if parts[0] == "nfexport" and len(parts) > 1 and parts[1] != home:
                    arrows.setdefault(home, set()).add(parts[1])
    return arrows


def test_no_module_imports_upwards_or_sideways() -> None:
    level = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    assert {p.name.removesuffix(".py") for p in SOURCE.iterdir() if not p.name.startswith("__init__")} - set(
        level
    ) <= {"__pycache__", "py.typed", "nfexport.mk"}
    wrong = [
        f"{home} imports {target}"
        for home, targets in top_level_imports().items()
        for target in targets
        if target in level and level[target] >= level[home]
    ]
    assert wrong == []


def modules_loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import nfexport", set()),
        ("from nfexport.cli import run; run(['--help'])", set()),
        ("from nfexport.cli import run; run(['export', '--help'])", set()),
        ("from nfexport.cli import run; run(['verify', '--help'])", set()),
        ("from nfexport.cli import run; run(['golden', 'check', '--help'])", set()),
        ("from nfexport.cli import run; run(['golden', 'record', '--help'])", set()),
        ("from nfexport.cli import run; run(['check', '--help'])", set()),
        ("from nfexport.cli import run; run(['makefile'])", set()),
        ("from nfexport.cli import run; run(['bench', '--help'])", set()),
        ("import nfexport.benchmark.measurement", {"onnx", "numpy"}),
        ("from nfexport.cli import run; run(['card', '--help'])", set()),
        ("import nfexport.pytest_plugin", set()),
        ("import nfexport.goldens.golden_check", {"onnx", "numpy"}),
        ("import nfexport; nfexport.inspect", {"onnx", "numpy"}),
        ("import nfexport; nfexport.classify", {"onnx", "numpy"}),
        ("import nfexport.images.labels as l; assert l.label_names('imagenet-1k', 1000)", set()),
        ("from nfexport.cli import run; run(['classify', '--help'])", set()),
        ("import nfexport; nfexport.card", {"onnx", "numpy"}),
        ("import nfexport; nfexport.export", {"onnx", "numpy"}),
        ("from nfexport.cli import run; run(['evaluate', '--help'])", set()),
        ("import nfexport; nfexport.evaluate", {"onnx", "numpy"}),
        ("from nfexport.recipe.opsets import check_opset; check_opset(11)", {"onnx", "onnxruntime", "numpy"}),
        ("import nfexport.sources, nfexport.verification", set()),
        ("from nfexport.interpreter import uncovered_operators", set()),
    ],
)
def test_start_up_loads_only_what_it_needs(code: str, allowed: set[str]) -> None:
    assert modules_loaded_by(code) & HEAVY <= allowed


def test_a_help_page_loads_no_slow_part_of_the_standard_library() -> None:
    loaded = modules_loaded_by("from nfexport.cli import run; run(['export', '--help'])")
    assert not loaded & SLOW


def test_that_test_can_fail() -> None:
    assert modules_loaded_by("import torch") >= {"torch"}


def test_public_names_stay_what_they_are_after_their_packages_were_imported() -> None:
    """A submodule of the same name would replace the function at the second access."""
    code = (
        "import nfexport, nfexport.inspection, nfexport.verification, nfexport.workflows.export\n"
        "import nfexport.images.classify, nfexport.cards.document, nfexport.workflows.preset\n"
        "for _ in range(2):\n"
        "    for name in ('export', 'export_preset', 'verify', 'inspect', 'classify', 'card'):\n"
        "        assert callable(getattr(nfexport, name))"
    )
    modules_loaded_by(code)


def test_one_place_exits_and_one_writes_models() -> None:
    exits, writes = set(), set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "sys.exit(" in text:
            exits.add(path.relative_to(SOURCE).as_posix())
        if '.open("wb")' in text or "write_bytes(" in text:
            writes.add(path.relative_to(SOURCE).as_posix())
    assert exits == {"cli/__init__.py"}
    assert writes == {"graph/atomic_files.py", "graph/model_writer.py"}


def test_only_the_command_line_imports_click_and_only_sources_import_timm() -> None:
    users: dict[str, set[str]] = {"click": set(), "timm": set()}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                if module.split(".")[0] in users:
                    users[module.split(".")[0]].add(path.relative_to(SOURCE).parts[0])
    assert users == {"click": {"cli"}, "timm": {"sources"}}


def test_no_file_holds_more_than_one_idea() -> None:
    lengths = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}

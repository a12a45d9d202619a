"""Write the files that are made from what options and passes declare, or say which of them are out of date.

    python -m tests.generated [--write]

src/nfexport/workflows/keywords.py    types of the keyword arguments of export and surgery
docs/passes/README.md                 the table of passes (between its two marks)
docs/evaluator.md                     the table of operators, likewise
"""

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal

import msgspec
import onnx

from nfexport import formats
from nfexport.interpreter import coverage_table
from nfexport.passes import catalogue, keywords, registry
from nfexport.recipe.export_options import ExportOptions, Source, SurgeryOptions
from nfexport.recipe.option import Command, Option

ROOT = Path(__file__).parents[1]
KEYWORDS = ROOT / "src" / "nfexport" / "workflows" / "keywords.py"
TABLE = ROOT / "docs" / "passes" / "README.md"
EVALUATOR = ROOT / "docs" / "evaluator.md"
BEGIN, END = "<!-- the table is made by python -m tests.generated --write -->", "<!-- end of the table -->"

HEADER = '''"""Types of the keyword arguments of export and surgery, for type checkers.

Made by `python -m tests.generated --write` from the fields of the options and the declarations of the passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict
'''

PLAIN = {
    "flag": "bool",
    "switch": "bool | None",
    "integer": "int | None",
    "number": "float | None",
    "numbers": "Sequence[float] | None",
    "text": "str | None",
    "names": "Sequence[str]",
    "pairs": "Mapping[str, str] | None",
    "values": "Mapping[str, Any]",
    "path": "str | Path | None",
}


WIDER = {"checkpoint": "str | Path | None", "inputs": "Any"}
"""Fields that Python callers pass as other values than a recipe keeps: paths, example tensors."""


def keyword_types() -> str:
    """Return the text of keywords.py."""
    export, surgery = _keywords("export", Source, ExportOptions), _keywords("surgery", SurgeryOptions)
    shared = {name: kind for name, kind in export.items() if surgery.get(name) == kind}
    text = HEADER
    for name, base, what, rows in (
        ("SharedKeywords", "TypedDict", "that nfexport.export and nfexport.surgery have in common", shared),
        ("ExportKeywords", "SharedKeywords", "of nfexport.export", export),
        ("SurgeryKeywords", "SharedKeywords", "of nfexport.surgery", surgery),
    ):
        text += f'\n\nclass {name}({base}, total=False):\n    """Keyword arguments {what}."""\n\n'
        own = rows if rows is shared else {key: kind for key, kind in rows.items() if key not in shared}
        text += "".join(f"    {key}: {kind}\n" for key, kind in own.items())
    return text


def _keywords(command: Command, *structs: type[msgspec.Struct]) -> dict[str, str]:
    """Return the keyword arguments of a command, each with its type."""
    rows = {
        field: WIDER.get(field) or _field_type(hint)
        for kind in structs
        for field, hint in typing.get_type_hints(kind).items()
        if field not in ("model", "passes")
    }
    converting = [option for format_ in formats.names() for option in formats.get(format_).options]
    for option in (*keywords.options(command).values(), *(converting if command == "export" else ())):
        rows.setdefault(option.keyword, _option_type(option))
    return rows


def table() -> str:
    """Return the text of docs/passes/README.md, with the table as it has to be."""
    built_in = [cls for cls in registry.all_passes() if registry.is_built_in(cls)]
    return _with_table(TABLE, catalogue.markdown(built_in))


def operators() -> str:
    """Return the text of docs/evaluator.md, with the table as it has to be."""
    return _with_table(EVALUATOR, coverage_table.markdown(int(onnx.defs.onnx_opset_version())))


def _with_table(page: Path, made: str) -> str:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n{END}{rest.partition(END)[2]}"


def _field_type(hint: Any) -> str:
    """Return a type as a caller may pass it: sequences for tuples, a path for the name of a file."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        words = ", ".join(f'"{word}"' for word in arguments)
        return f"Literal[{words}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_field_type, arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"Sequence[{_field_type(arguments[0])}]"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_field_type, arguments))}]"
    return {type(None): "None", Any: "Any"}.get(hint) or str(hint.__name__)


def _option_type(option: Option) -> str:
    if option.kind == "choice":
        kind = f"Literal[{', '.join(f'{word!r}' for word in option.choices)}]".replace("'", '"')
        return f"Sequence[{kind}]" if option.multiple else f"{kind} | None"
    if option.kind == "size":
        words = f" | Literal[{', '.join(f'{word!r}' for word in option.choices)}]".replace("'", '"')
        return f"int | tuple[int, int]{words if option.choices else ''} | None"
    return PLAIN[option.kind]


def main() -> int:
    """Write the files, or say which are out of date."""
    made = {KEYWORDS: keyword_types(), TABLE: table(), EVALUATOR: operators()}
    wrong = [path for path, text in made.items() if not _is(path, text)]
    if "--write" in sys.argv[1:]:
        for path in wrong:
            path.write_text(made[path], encoding="utf-8")
        return 0
    for path in wrong:
        print(f"{path.relative_to(ROOT)} is out of date; run: python -m tests.generated --write")
    return 1 if wrong else 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())

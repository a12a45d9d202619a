"""The operators that the evaluator covers, as a table for the documentation."""

from __future__ import annotations

from collections import defaultdict

from nfexport.interpreter.coverage import is_covered, schema_of
from nfexport.interpreter.operator_table import DEFAULT, table


def markdown(newest: int) -> str:
    """Return the rules by family, as rows of Markdown, and in a last row the operators that are computed by the
    function of their schema at the opset `newest`."""
    families: dict[str, set[str]] = defaultdict(set)
    for (domain, name), versions in table().items():
        for rule in versions.values():
            shown = name if domain == DEFAULT else f"{domain}.{name}"
            families[rule.__module__.rpartition(".")[2].replace("_", " ")].add(shown)
    rows = [_row(family, names) for family, names in sorted(families.items())]
    return "\n".join(["| family | operators |", "|---|---|", *rows, _row("by their function", _functions(newest))])


def _functions(newest: int) -> set[str]:
    import onnx

    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == DEFAULT}
    own = {name for domain, name in table() if domain == DEFAULT}
    return {name for name in names - own if schema_of("", name, newest) and is_covered("", name, newest)}


def _row(family: str, names: set[str]) -> str:
    return f"| {family} | {', '.join(f'`{name}`' for name in sorted(names))} |"

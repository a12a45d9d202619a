"""What the files made from declarations say is true; a new pass may be missing until they are made again."""

from __future__ import annotations

from tests.generated import EVALUATOR, KEYWORDS, TABLE, keyword_types, operators, table


def test_the_types_of_keyword_arguments_are_those_of_the_declarations() -> None:
    made = set(keyword_types().splitlines())
    assert set(KEYWORDS.read_text(encoding="utf-8").splitlines()) <= made


def test_the_table_of_passes_is_that_of_the_declarations() -> None:
    rows = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) >= 26
    assert set(rows) <= set(table().splitlines())


def test_the_table_of_operators_is_that_of_the_rules() -> None:
    rows = {
        line.split(" | ")[0]: line for line in EVALUATOR.read_text(encoding="utf-8").splitlines() if "| `" in line
    }
    assert "`Conv`" in rows["| convolution"]
    made = {line.split(" | ")[0]: line for line in operators().splitlines() if "| `" in line}
    by_function = "| by their function"  # depends on the installed onnx
    assert {**rows, by_function: ""} == {**made, by_function: ""}

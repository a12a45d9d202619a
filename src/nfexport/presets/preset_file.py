"""Read a preset file: every key is checked, and a mistake is named by its line and key."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nfexport.errors import PresetError
from nfexport.presets.consistency import contradictions
from nfexport.presets.definition import DocumentedWeights, Pictures, Preset
from nfexport.recipe.about import Accuracy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _is_batch(value: Any) -> bool:
    return value == "dynamic" or _is_count(value)


TEXT, COUNT, NUMBER = (_is_text, "a text"), (_is_count, "a whole number from 1 up"), (_is_number, "a number")
TEXTS, NUMBERS = (_is_texts, "a list of texts"), (_is_numbers, "a list of numbers")

KEYS: Mapping[str, Mapping[str, tuple[Check, str]]] = {
    "": {
        "title": TEXT,
        "summary": TEXT,
        "model": TEXT,
        "image_size": (_is_size, "[height, width] in pixels"),
        "batch": (_is_batch, 'a whole number from 1 up, or "dynamic"'),
        "opset": COUNT,
        "outputs": TEXTS,
        "default_form": TEXT,
        "top_k": COUNT,
        "checkpoint": TEXT,
        "num_classes": COUNT,
        "labels": TEXTS,
        "licence": TEXT,
        "dataset": TEXT,
        "origin": TEXT,
        "citations": TEXTS,
    },
    "pictures": {"mean": NUMBERS, "scale": NUMBERS, "resize": COUNT, "crop_mode": TEXT, "interpolation": TEXT},
    "names": {},
    "weights": {"tag": TEXT, "file": TEXT, "sha256": TEXT, "sha384": TEXT},
    "claimed": {"top1": NUMBER, "top5": NUMBER, "dataset": TEXT, "pictures": COUNT, "source": TEXT},
}
"""The tables of a preset and their keys; names takes any key."""

REQUIRED = {
    "": ("title", "model", "image_size", "opset", "outputs"),
    "pictures": ("mean", "scale", "resize"),
    "claimed": ("top1",),
}


def read_preset(path: Path) -> Preset:
    """Return the preset in a file. Raises PresetError, with line and key, for a file that is no TOML, a key that
    is unknown, missing or of the wrong type, and for a contradiction."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise PresetError(f"'{path}' cannot be read ({error.strerror})", fix="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PresetError(f"the preset '{path}' is no TOML ({error})", fix="mend that line") from error
    _check_keys(path, text, raw)
    preset = _build(path, raw)
    for table, key, problem, fix in contradictions(preset):
        raise PresetError(f"{_place(path, text, table, key)}: {problem}", fix=fix)
    return preset


def _check_keys(path: Path, text: str, raw: dict[str, Any]) -> None:
    tables = {"": {key: value for key, value in raw.items() if not isinstance(value, dict)}}
    tables |= {key: value for key, value in raw.items() if isinstance(value, dict)}
    for table, entries in tables.items():
        if table not in KEYS:
            raise PresetError(
                f"{_place(path, text, table, None)}: there is no table [{table}]",
                fix=f"use {', '.join(f'[{name}]' for name in KEYS if name)}",
            )
        for key, value in entries.items():
            known = KEYS[table]
            if table == "names":
                known = {key: TEXT}
            if key not in known:
                raise PresetError(
                    f"{_place(path, text, table, key)}: the key is unknown", fix=f"use one of {', '.join(known)}"
                )
            check, wanted = known[key]
            if not check(value):
                raise PresetError(
                    f"{_place(path, text, table, key)}: {value!r} is not {wanted}", fix="mend that line"
                )
    for table, keys in REQUIRED.items():
        if table == "claimed" and table not in tables:
            continue
        for key in keys:
            if key not in tables.get(table, {}):
                where = f"in [{table}]" if table else "at the top"
                raise PresetError(f"the preset '{path}' lacks the key '{key}' {where}", fix="add it")


def _place(path: Path, text: str, table: str, key: str | None) -> str:
    """Name the line of a key, or of its table's head."""
    current, head = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$", line):
            current = match[1].strip().strip("\"'")
            head = number if current == table else head
        elif key is not None and current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return f"'{path}', line {number}, key '{key}'"
    what = f"key '{key}'" if key is not None else f"table [{table}]"
    return f"'{path}', line {head}, {what}" if head else f"'{path}', {what}"


def _build(path: Path, raw: dict[str, Any]) -> Preset:
    own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    pictures: dict[str, Any] = {
        key: tuple(map(float, value)) if isinstance(value, list) else value for key, value in raw["pictures"].items()
    }
    fields: dict[str, Any] = {"batch": "dynamic", "summary": "", **own}
    fields["pictures"] = Pictures(**pictures)
    fields["weights"] = DocumentedWeights(**own.get("weights", {}))
    if "claimed" in own:
        fields["claimed"] = Accuracy(**own["claimed"])
    if "checkpoint" in own:
        fields["checkpoint"] = path.parent / own["checkpoint"]
    return Preset(name=path.name.removesuffix(".toml"), path=path, **fields)

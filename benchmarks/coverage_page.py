"""The page docs/coverage.md, from the records of the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.records import Record

INTRODUCTION = """\
# Coverage

Made by `make sweep`, which exports with seeded weights, each network in a process of its own, and goes on where it
was stopped. 'Largest error' is that of the file in ONNX Runtime against PyTorch in float64, in units of the output's
range; 'of what is allowed' puts the worst case next to the tolerance of [verification.md](verification.md).
"""

MODULES = """\
## One architecture of each of timm's modules

The architecture with the fewest parameters of each module that registers models, at the options that `nfexport MODEL`
has by default. {exported} of {all} are exported and verified.
{raised}A network without a classifier returns its embedding.

The last two columns are the same command with `--opset 17` and with `--opset 11`: 'yes' if the file is written, else
the operator that has no form there, and the first opset at which the network can be exported.
{columns}
"""

FOLDED = """\
## Weight-standardised architectures

Every architecture of the installed timm with weight standardisation, and a few without, exported with `--fold-ws` and
verified. 'Folded' counts the convolutions whose weight became a constant; 'after folding' the parameters in
convolutions and classifier.
"""

FOLDED_OPSETS = (11, 17)


def page(records: Sequence[Record], *, modules: int, largest: float) -> str:
    """Return the page; records are those of the installed timm's architectures, the smallest first.

    modules is the number of modules, whether they were exported yet or not; largest that of millions of parameters
    up to which standardised architectures are exported."""
    chosen, folded = _by_architecture(records, "modules"), _by_architecture(records, "folded")
    parts = [INTRODUCTION, _modules(chosen, modules), _folded(folded, largest)]
    versions = sorted({f"{name} {version}" for r in records for name, version in r["versions"].items()})
    parts.append(f"Made with {', '.join(versions)}.\n")
    return "\n".join(parts)


def _by_architecture(records: Sequence[Record], kind: str) -> dict[str, dict[int | None, Record]]:
    found: dict[str, dict[int | None, Record]] = {}
    for record in records:
        if record["kind"] == kind:
            found.setdefault(record["architecture"], {})[record["opset"]] = record
    return found


def _modules(found: dict[str, dict[int | None, Record]], modules: int) -> str:
    head = ["module", "architecture", "size", "parameters", "nodes", "largest error", "of what is allowed"]
    lines = _head([*head, "opset 17", "opset 11"])
    rows = sorted(found.values(), key=lambda row: str(next(iter(row.values()))["module"]))
    for row in rows:
        first = next(iter(row.values()))
        default = row.get(None)
        cells = [first["module"], first["architecture"], *_measured(first, default)]
        cells += [_at_opset(row.get(opset)) for opset in (17, 11)]
        lines.append(_row(cells))
    defaults = [row[None] for row in rows if None in row and row[None]["status"] == "exported"]
    raised = [r for r in defaults if r["written_opset"] != 17]
    text = MODULES.format(
        exported=sum(r["verify"] for r in defaults),
        all=modules,
        raised="".join(f"{r['architecture']} is written at opset {r['written_opset']}.\n" for r in raised),
        columns=f"{_checked(rows, 17)} {_checked(rows, 11)}",
    )
    return text + "\n" + "\n".join(lines) + "\n"


def _checked(rows: Sequence[dict[int | None, Record]], opset: int) -> str:
    written = [row[opset] for row in rows if opset in row and row[opset]["status"] == "exported"]
    verified = sum(record["verify"] for record in written)
    if verified == len(written):
        return f"Every file of opset {opset} is verified too: {len(written)}."
    return f"Of the {len(written)} files of opset {opset}, {verified} are verified."


def _measured(first: Record, default: Record | None) -> list[str]:
    parameters = f"{first['parameters']:,}"
    if default is None:
        return ["", parameters, "", "", ""]
    if default["status"] != "exported":
        return ["", parameters, default["reason"], "", ""]
    height, width = default["image_size"]
    return [f"{height}×{width}", parameters, f"{default['nodes']:,}", *_errors(default)]


def _errors(record: Record) -> list[str]:
    if record["largest_error"] is None:
        return ["not verified", ""]
    return [f"{record['largest_error']:.1e}", f"{record['of_allowed']:.0%}"]


def _at_opset(record: Record | None) -> str:
    if record is None:
        return ""
    if record["status"] == "refused":
        return f"{record['operator']} (opset {record['needed']})"
    return "yes" if record["status"] == "exported" else record["reason"]


def _folded(found: dict[str, dict[int | None, Record]], largest: float) -> str:
    head = ["architecture", "size", "parameters", "after folding", "folded"]
    for opset in FOLDED_OPSETS:
        head += [f"nodes, opset {opset}", "largest error", "of what is allowed"]
    lines = _head(head)
    for name, row in found.items():
        first = next((record for record in row.values() if record["status"] == "exported"), None)
        if first is None:
            lines.append(_row([name, "", "", "", "", *(record["reason"] for record in row.values())]))
            continue
        height, width = first["image_size"]
        cells = [name, f"{height}×{width}", f"{first['parameters']:,}", f"{first['counted_parameters']:,}"]
        cells.append(str(first["folded"]))
        for opset in FOLDED_OPSETS:
            record = row.get(opset)
            if record is None or record["status"] != "exported":
                cells += [record["reason"] if record else "", "", ""]
            else:
                cells += [str(record["nodes"]), *_errors(record)]
        lines.append(_row(cells))
    text = f"{FOLDED}Those above {largest:g} million parameters are left out.\n"
    return text + "\n" + "\n".join(lines) + "\n"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), f"|{'---|' * len(cells)}"]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

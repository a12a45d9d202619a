"""The tables of docs/mutations.md, from the results of benchmarks/mutations.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Result = dict[str, Any]

HEAD = """# What the verifier notices

Made by `make mutations`. Each kind of fault was put at every place of four exported networks at 96 px where it
applies; each wrong file went through `nfexport verify`'s comparison, and through the usual check: one standard
normal input, `numpy.allclose` at rtol 1e-3, atol 1e-5.

A fault has an effect if it moves an output, on eighteen other images, further than the verifier allows to a
correct file: what is less than that is what two correct runtimes may differ by. Faults without effect are
counted on their own; those of them that were noticed all the same lie just below the line. `located` is the
share of the noticed ones for which `--bisect` names the node with the fault or its direct consumer.
"""


def table(results: Sequence[Result]) -> str:
    """Return the page."""
    lines = [HEAD, "## By network", "", *_table(results, lambda result: result["network"], "network")]
    lines += ["", "## By kind", "", *_table(results, lambda result: result["kind"], "fault")]
    return "\n".join(lines) + "\n"


def _table(results: Sequence[Result], key: Callable[[Result], str], title: str) -> Iterable[str]:
    yield f"| {title} | places | with effect | noticed | by outputs alone | by the usual check | located |"
    yield "|---|---|---|---|---|---|---|"
    names = list(dict.fromkeys(key(result) for result in results))
    for name in (*names, None):
        chosen = [result for result in results if name is None or key(result) == name]
        effective = [result for result in chosen if result["effect"] == "refused" or result["effect"] > 1]
        located = [result["located"] for result in chosen if "located" in result]
        flags = [[r["caught"] for r in effective], [r.get("by_outputs", True) for r in effective]]
        flags += [[r["usual"] for r in effective], located]
        shares = " | ".join(map(_share, flags))
        yield f"| {name or '**all**'} | {len(chosen)} | {len(effective)} | {shares} |"


def _share(flags: Iterable[bool]) -> str:
    known = list(flags)
    if not known:
        return "–"
    return f"{sum(known)} ({100 * sum(known) / len(known):.3g} %)" if not all(known) else f"{len(known)} (100 %)"

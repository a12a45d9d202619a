"""The tables of docs/mutations.md, from the results of benchmarks/mutations.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Result = dict[str, Any]

HEAD = """# What the verifier notices

`make mutations` writes this page. Each kind of fault was put into four exported networks at 96 px, at every place
where it applies. Each wrong file went through the comparison of `nfexport verify`, and through a plain allclose
check: one standard normal input, `numpy.allclose` at rtol 1e-3 and atol 1e-5.

A fault has an effect if, on eighteen other images, it changes an output by more than the verifier allows a correct
file; two correct runtimes may differ by less than that. The columns from `noticed` on count faults with an effect.
`located` is the share of the noticed faults for which `--bisect` names the node with the fault or its direct
consumer.
"""


def table(results: Sequence[Result]) -> str:
    """Return the page."""
    lines = [HEAD, "## By network", "", *_table(results, lambda result: result["network"], "network")]
    lines += ["", "## By kind", "", *_table(results, lambda result: result["kind"], "fault")]
    return "\n".join(lines) + "\n"


def _table(results: Sequence[Result], key: Callable[[Result], str], title: str) -> Iterable[str]:
    yield f"| {title} | places | with effect | noticed | by outputs alone | by allclose | located |"
    yield "|---|---|---|---|---|---|---|"
    names = list(dict.fromkeys(key(result) for result in results))
    for name in (*names, None):
        chosen = [result for result in results if name is None or key(result) == name]
        effective = [result for result in chosen if result["effect"] == "refused" or result["effect"] > 1]
        located = [result["located"] for result in chosen if "located" in result]
        flags = [[r["caught"] for r in effective], [r.get("by_outputs", True) for r in effective]]
        flags += [[r["allclose"] for r in effective], located]
        shares = " | ".join(map(_share, flags))
        yield f"| {name or '**all**'} | {len(chosen)} | {len(effective)} | {shares} |"


def _share(flags: Iterable[bool]) -> str:
    known = list(flags)
    if not known:
        return "–"
    return f"{sum(known)} ({100 * sum(known) / len(known):.3g} %)" if not all(known) else f"{len(known)} (100 %)"

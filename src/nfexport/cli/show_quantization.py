"""Print the result of a quantisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.cli.escaping import escape
from nfexport.cli.facts_table import facts_table

if TYPE_CHECKING:
    from rich.table import Table

    from nfexport.cli.console import Console
    from nfexport.quantization.agreement import Agreement
    from nfexport.quantization.quantize_result import QuantizeResult


def show_quantization(result: QuantizeResult, console: Console) -> None:
    """Print the int8 file, the layers that stay in float, and the distance from the float file."""
    table = facts_table()
    table.add_row("file", f"[bold]{escape(str(result.path))}[/]")
    table.add_row("model", result.recipe.model_name)
    add_quantization(table, result, verbose=console.verbose)
    table.add_row("time", ", ".join(f"{stage} {s:.1f} s" for stage, s in result.seconds.items()))
    console.out.print(table)


def add_quantization(table: Table, result: QuantizeResult, *, verbose: bool) -> None:
    """Add rows about the int8 form of a file to a table of facts."""
    table.add_row("int8", result.summary)
    for name, reason in result.kept.items():
        table.add_row("in float", f"{escape(name)}: {reason}")
    table.add_row("float → int8", f"{result.size_before:,} → {result.facts.total_size:,} bytes")
    table.add_row("calibrated", f"{_images(result)}, {result.method}")
    for what, found in (
        ("calibration images", result.on_calibration),
        ("seeded images", result.on_seeded),
    ):
        table.add_row("against float", f"{_agreement(found)} on {found.images} {what}")
    if verbose:
        for name, noise in sorted(result.noise.items(), key=lambda pair: -pair[1]):
            table.add_row("noise", f"{noise:.1e} {escape(name)}")


def _images(result: QuantizeResult) -> str:
    given = result.calibration
    if given.source == "seeded":
        return f"on {given.images} seeded images; a folder of real ones gives better ranges"
    return f"on {given.images} images of a folder"


def _agreement(found: Agreement) -> str:
    top1 = "" if found.top1 is None else f"top-1 {found.top1:.1%}, "
    return f"{top1}error {found.rms_mean:.1%} of the output range (worst {found.rms_max:.1%}), {found.sqnr_db:.1f} dB"

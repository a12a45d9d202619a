"""Tables of facts: what is in a file, one row a fact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from nfexport.inspection import FileFacts
    from nfexport.recipe.recipe import Recipe


def facts_table() -> Table:
    """Return an empty table of two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def add_facts(table: Table, facts: FileFacts) -> None:
    """Add what is in a file."""
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts.opset_imports.items())
    table.add_row("opset", escape(f"{opsets} (IR version {facts.ir_version})"))
    for what, tensors in (("input", facts.inputs), ("output", facts.outputs)):
        for tensor in tensors:
            shape = "?" if tensor.shape is None else ", ".join(str(dim) for dim in tensor.shape)
            table.add_row(what, escape(f"{tensor.name}  {tensor.dtype} [{shape}]"))
    table.add_row("nodes", f"{facts.node_count:,}")
    table.add_row("parameters", f"{facts.counted_parameters:,} in Conv, Gemm and MatMul; {facts.parameters:,} in all")
    beside = (
        f", {facts.external_size:,} of them in {escape(', '.join(facts.external_data))}"
        if facts.external_data
        else ""
    )
    table.add_row("size", f"{facts.total_size:,} bytes{beside}")


def describe_labels(labels: str | tuple[str, ...] | None) -> str:
    """Return the class names, or the first of them, for a report."""
    if isinstance(labels, tuple):
        few = ", ".join(labels[:3])
        return f"{few}, … ({len(labels)} in all)" if len(labels) > 3 else few
    return labels or "unknown"


def size(image_size: tuple[int, int]) -> str:
    """Return (height, width) in pixels for a report."""
    return f"{image_size[0]} × {image_size[1]}"


def numbers(values: Sequence[float]) -> str:
    """Return numbers, one a channel, for a report."""
    return "/".join(f"{value:.6g}" for value in values)


def add_preprocessing(table: Table, recipe: Recipe) -> None:
    """Add what is left to the caller of the preprocessing; mean and std are for pixels in the range that is named."""
    if recipe.tensors:
        return
    pre = recipe.preprocessing
    table.add_row(
        "preprocessing",
        f"{pre.channel_order} in {pre.value_range[0]:g}..{pre.value_range[1]:g}, "
        f"mean {numbers(pre.mean)}, std {numbers(pre.std)}, "
        f"crop {pre.crop_pct:g} ({pre.crop_mode}), {pre.interpolation}",
    )


def at_size(pixels: tuple[int, int] | None) -> str:
    """Return ' at 224 × 224', to follow the name of a model; nothing for one that takes other than an image."""
    return "" if pixels is None else f" at {size(pixels)}"

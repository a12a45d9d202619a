"""What a person sees: stages while the work lasts, a summary when it is done. JSON goes to stdout alone."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Table

from nfexport.cli.show_cost import add_cost
from nfexport.cli.show_diagnosis import add_diagnosis, add_self_test
from nfexport.cli.show_quantization import add_quantization
from nfexport.errors import InputError
from nfexport.recipe.speed import REWRITES

if TYPE_CHECKING:
    from pathlib import Path

    from nfexport.inspection import FileFacts
    from nfexport.inspection.assertions import Outcome
    from nfexport.inspection.cost import Cost
    from nfexport.sources.timm.catalogue import ArchitectureEntry
    from nfexport.verification.verification_report import VerificationReport
    from nfexport.workflows.results import ExportResult, VerifyResult

_STAGES = {
    "import": "importing torch and timm",
    "model": "building the model",
    "trace": "tracing",
    "passes": "running graph passes",
    "write": "writing",
    "read": "reading the file",
    "verify": "verifying",
    "convert": "converting for OpenVINO",
    "verify-ir": "verifying in OpenVINO",
    "evaluate": "evaluating",
    "quantize": "quantising",
    "prove": "comparing the graphs",
    "measure": "measuring the error",
}


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def report_assertions(path: Path, outcomes: Sequence[Outcome]) -> bool:
    """Print one line on stderr for each assertion that fails; say whether all hold."""
    for outcome in outcomes:
        if not outcome.passed:
            click.echo(f"nfexport: {path}: {outcome.assertion} fails: {outcome.detail}", err=True)
    return all(outcome.passed for outcome in outcomes)


class LiveProgress:
    """Shows the running stage on a terminal, with what it is at; in a pipe it keeps quiet."""

    def __init__(self, console: RichConsole) -> None:
        self._console = console
        self._status = console.status("")

    def __enter__(self) -> LiveProgress:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def start(self, stage: str) -> None:
        self._status.update(_STAGES.get(stage, stage))

    def step(self, text: str) -> None:
        self._status.update(text)

    def finish(self, stage: str, seconds: float) -> None:
        self._console.print(f"[green]✓[/] {_STAGES.get(stage, stage):<28} [dim]{seconds:6.1f} s[/]")


class Console:
    """Prints results for people: tables on stdout, progress on stderr."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self.verbose = verbose
        self.out = RichConsole(quiet=quiet, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def live(self) -> Iterator[LiveProgress | None]:
        """Yield a progress that draws on a terminal; None where nobody watches."""
        err = RichConsole(stderr=True, highlight=False)
        if self._quiet or not err.is_terminal or not sys.stderr.isatty():
            yield None
            return
        with LiveProgress(err) as progress:
            yield progress

    def show_export(self, result: ExportResult) -> None:
        table = _facts_table()
        table.add_row("file", f"[bold]{result.path}[/]")
        recipe = result.recipe
        table.add_row("model", f"{recipe.model_name} at {_size(recipe.image_size)}")
        table.add_row("weights", recipe.weights.describe())
        _add_facts(table, result.facts)
        reports = {report.name: report for report in result.passes}
        if "fold-ws" in reports:
            table.add_row("fold-ws", reports["fold-ws"].summary)
        elif result.facts.computed_conv_weights:
            table.add_row(
                "fold-ws",
                f"{result.facts.computed_conv_weights} convolutions compute their weight; add --fold-ws",
            )
        for name in ("fold-scales", *REWRITES):
            if name in reports and (reports[name].changed or name == "fold-scales"):
                table.add_row(name, reports[name].summary)
        for report in result.passes:
            for node, reason in report.left_alone.items():
                if self.verbose or report.name == "fold-ws":
                    table.add_row("left alone", f"{node}: {reason} ({report.name})")
        if self.verbose:
            for report in result.passes:
                table.add_row(f"pass {report.name}", report.summary)
            table.add_row("recipe", result.recipe.digest)
        if result.verification is None:
            table.add_row("verified", "no (--no-verify)")
        else:
            self._add_verification(table, result.verification)
        if result.quantization is not None:
            add_quantization(table, result.quantization, verbose=self.verbose)
        if result.openvino is not None:
            ir = result.openvino
            table.add_row("OpenVINO", f"[bold]{ir.path}[/] and {ir.weights.name}, {ir.precision}, {ir.size:,} bytes")
            if ir.verification is not None:
                self._add_verification(table, ir.verification)
        table.add_row("time", ", ".join(f"{stage} {s:.1f} s" for stage, s in result.seconds.items()))
        self.out.print(table)

    def show_verification(self, result: VerifyResult) -> None:
        table = _facts_table()
        table.add_row("file", f"[bold]{result.path}[/]")
        table.add_row("model", f"{result.model_name} at {_size(result.image_size)}")
        table.add_row("weights", result.weights.describe())
        for report in result.reports:
            self._add_verification(table, report)
        for disagreement in result.disagreements:
            table.add_row("[red]disagrees[/]", disagreement)
        if result.diagnosis is not None:
            add_diagnosis(table, result.diagnosis, verbose=self.verbose)
        elif not result.report.passed and not result.report.tolerance.startswith("int8"):
            table.add_row("where", "add --bisect to see the first node at fault")
        if result.self_test is not None:
            add_self_test(table, result.self_test, verbose=self.verbose)
        table.add_row("result", "[green]passed[/]" if result.passed else "[red]FAILED[/]")
        self.out.print(table)

    def show_facts(self, facts: FileFacts, cost: Cost | InputError | None = None) -> None:
        """Show the facts of a file and what an inference costs, or why that cannot be said."""
        table = _facts_table()
        table.add_row("file", f"[bold]{facts.path}[/]")
        if facts.recipe is not None:
            recipe = facts.recipe
            table.add_row("model", f"{recipe.model_name} at {_size(recipe.image_size)}")
            table.add_row("weights", recipe.weights.describe())
            pre = recipe.preprocessing
            table.add_row(
                "preprocessing",
                f"{pre.channel_order} in {pre.value_range[0]:g}..{pre.value_range[1]:g}, "
                f"mean {_numbers(pre.mean)}, std {_numbers(pre.std)}, "
                f"crop {pre.crop_pct:g} ({pre.crop_mode}), {pre.interpolation}",
            )
            table.add_row("labels", _labels(recipe.labels))
            table.add_row("made with", ", ".join(f"{name} {v}" for name, v in sorted(recipe.versions.items())))
        else:
            table.add_row("recipe", "none" if facts.recipe_error is None else str(facts.recipe_error))
        _add_facts(table, facts)
        if isinstance(cost, InputError):
            table.add_row("cost", escape(str(cost)))
        elif cost is not None:
            add_cost(table, cost)
        table.add_row("operators", ", ".join(f"{name} {count}" for name, count in facts.operator_counts.items()))
        self.out.print(table)

    def show_architectures(self, entries: Sequence[ArchitectureEntry]) -> None:
        for entry in entries:
            mark = "w" if entry.weight_standardised else " "
            tags = ", ".join(entry.tags) or "no trained weights"
            self.out.print(f"{mark} {entry.architecture:<36} [dim]{tags}[/]")

    def _add_verification(self, table: Table, report: VerificationReport) -> None:
        table.add_row("verified", report.summary())
        if (caution := report.caution()) is not None:
            table.add_row("[yellow]caution[/]", caution)
        facts = report.to_dict()
        figures = {"top-1": facts["top1_agreement"], "top-5": facts["top5_agreement"]}
        agreement = [f"{name} {share:.0%}" for name, share in figures.items() if share is not None]
        if facts["min_cosine"] is not None:
            agreement.append(f"cosine {facts['min_cosine']:.9f}")
        table.add_row("agreement", ", ".join(agreement))
        if self.verbose:
            table.add_row("tolerance", report.tolerance)
            for case in report.cases:
                c = case.comparison
                error = "" if c.max_relative is None else f"largest error {c.max_relative:.1e}"
                table.add_row("", f"{case.name}, batch {case.batch}: {error} {c.reason}".rstrip())


def _facts_table() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _add_facts(table: Table, facts: FileFacts) -> None:
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in facts.opset_imports.items())
    table.add_row("opset", f"{opsets} (IR version {facts.ir_version})")
    for what, tensors in (("input", facts.inputs), ("output", facts.outputs)):
        for tensor in tensors:
            shape = "?" if tensor.shape is None else ", ".join(str(dim) for dim in tensor.shape)
            table.add_row(what, f"{tensor.name}  {tensor.dtype} \\[{shape}]")
    table.add_row("nodes", f"{facts.node_count:,}")
    table.add_row("parameters", f"{facts.counted_parameters:,} in Conv, Gemm and MatMul; {facts.parameters:,} in all")
    beside = f", {facts.external_size:,} of them in {', '.join(facts.external_data)}" if facts.external_data else ""
    table.add_row("size", f"{facts.total_size:,} bytes{beside}")


def _labels(labels: str | tuple[str, ...] | None) -> str:
    if isinstance(labels, tuple):
        few = ", ".join(labels[:3])
        return f"{few}, … ({len(labels)} in all)" if len(labels) > 3 else few
    return labels or "unknown"


def _size(image_size: tuple[int, int]) -> str:
    return f"{image_size[0]} × {image_size[1]}"


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.6g}" for value in values)

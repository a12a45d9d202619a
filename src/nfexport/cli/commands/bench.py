"""`nfexport bench FILE [FILE …]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nfexport.cli.options import reporting
from nfexport.cli.parameter_types import SizeType


class BatchesType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5
    """Batch sizes: '1' or '1,8'."""

    name = "N,M"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the batch sizes."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        parts = value.split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"'{value}' is not a list of batch sizes; pass numbers, such as 1,8", param, ctx)
        return tuple(int(part) for part in parts)


@click.command(name="bench")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    default=("onnxruntime",),
    show_default=True,
    metavar="NAME",
    help="A runtime, such as openvino; can be repeated.",
)
@click.option("--batch", "batches", type=BatchesType(), default="1", show_default=True, help="Batch sizes.")
@click.option("--size", type=SizeType(), help="Image size where the file leaves it free. [default: the recipe's]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads per inference. [default: the runtime's]")
@click.option(
    "--runs", type=click.IntRange(min=1), default=20, show_default=True, help="Timed inferences of each file."
)
@reporting
def command(
    files: tuple[Path, ...],
    runtimes: tuple[str, ...],
    batches: tuple[int, ...],
    size: int | tuple[int, int] | str | None,
    threads: int | None,
    runs: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Time FILEs in each runtime on this machine, with interleaved inferences, and compare them with the first.

    FILEs are ONNX files from any producer, or OpenVINO's IR (.xml). Each is loaded into a process of its own and gets
    seeded numbers as inputs. Prints medians and quartiles.
    """
    from nfexport.benchmark.measurement import bench
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_bench import show_bench
    from nfexport.errors import EXIT_OK, InputError

    if isinstance(size, str):
        raise InputError(f"--size {size} is not a size of a file", fix="pass a number of pixels, or HxW")
    console = Console(quiet=quiet or as_json, verbose=verbose)
    with console.live() as progress:
        result = bench(
            files,
            runtimes=runtimes,
            batches=batches,
            size=(size, size) if isinstance(size, int) else size,
            threads=threads,
            runs=runs,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        show_bench(result, console)
    return EXIT_OK

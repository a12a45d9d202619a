"""`nfexport check FILE --target …`."""

from __future__ import annotations

from pathlib import Path

import click

from nfexport.cli.options import reporting


@click.command(name="check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "names",
    multiple=True,
    metavar="NAME",
    help="A runtime such as tensorrt; repeatable. [default: every runtime that has a table]",
)
@click.option(
    "--try/--no-try", "attempt", default=True, show_default=True, help="Load FILE in the runtimes that are installed."
)
@reporting
def command(file: Path, names: tuple[str, ...], attempt: bool, as_json: bool, quiet: bool, verbose: bool) -> int:
    """List the operators, opsets and attributes of FILE that a target does not support, each with a fix.

    The tables follow the operators that each target documents; ONNX Runtime, OpenVINO and MIGraphX also load
    the file where they are installed. Exits with 1 if a target refuses the file or would compute something
    else.
    """
    from nfexport.cli.console import Console, print_json
    from nfexport.cli.show_check import show_check
    from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
    from nfexport.targets import check

    result = check(file, names, attempt=attempt)
    if as_json:
        print_json(result.to_dict())
    else:
        show_check(result, Console(quiet=quiet, verbose=verbose))
    return EXIT_OK if result.passed else EXIT_VERIFICATION

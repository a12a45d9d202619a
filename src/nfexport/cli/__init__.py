"""The command line: parse, call, print, exit. Nothing else in nfexport imports click.

One file a command; a command is imported when it is called, so that --help costs little.
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from nfexport import process
from nfexport.cli.escaping import complain
from nfexport.errors import EXIT_INPUT, NfexportError

COMMANDS = {
    "export": "Export a model to ONNX (the default command).",
    "preset": "List, show and export documented models.",
    "verify": "Verify an ONNX file against the model that it claims to be.",
    "evaluate": "Measure top-1 and top-5 of an ONNX file on images.",
    "rebuild": "Build a file again from the recipe inside it, and compare the bytes.",
    "surgery": "Apply graph passes to any ONNX file.",
    "passes": "List the graph passes in execution order.",
    "quantize": "Quantise a folded file to int8.",
    "inspect": "Show what is in an ONNX file.",
    "compare": "Run any two models on the same inputs, and compare the outputs.",
    "diff": "Compare what is in two ONNX files.",
    "check": "List what a runtime does not support in an ONNX file.",
    "bench": "Compare the speed of ONNX files on this machine.",
    "golden": "Record the facts and outputs of a file, and check them without torch.",
    "classify": "Classify images with an exported file, without torch.",
    "card": "Write the model card of an ONNX file.",
    "makefile": "Print the path of the make rules for other repositories.",
    "list": "List architectures and their trained weights.",
}

_NO_READER = 128 + signal.SIGPIPE
"""The exit code of a process whose pipe was closed by the reader, as in 'nfexport list | head'."""

_EPILOG = """\b
Exit codes:
  0  done
  1  verification failed, an assertion, golden or target check failed, two files
     differ, images could not be read, or an accuracy is not as expected
  2  bad usage or input
  3  something external is missing (weights, an optional package)"""


class _Commands(click.Group):
    """Loads a command's file when it is called, and takes an unknown first word for a model to export."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"nfexport.cli.commands.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            args = ["export", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # options may stand before the model: 'nfexport --opset 11 nfnet_f0'
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h", "--version"):
            args = ["export", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    options_metavar="",
    subcommand_metavar="MODEL | COMMAND [OPTIONS]",
)
@click.version_option(package_name="nfexport", prog_name="nfexport")
def nfexport() -> None:
    """From a timm name to an ONNX file that is small, fast, self-describing and verified.

    \b
    nfexport nfnet_f0 --opset 11 --fold-ws     export, with seeded weights
    nfexport nfnet_l0.ra2_in1k --fold-ws       export, with trained weights
    nfexport verify nfnet_f0.onnx              is this file the model it claims to be?
    """  # noqa: D301  (click reads the character)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code: the one place that exits."""
    with process.signal_handled(signal.SIGTERM, _terminate):
        code = run(args)
    if code == _NO_READER:
        process.abandon_standard_output()
    process.skip_last_collection()
    sys.exit(code)


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors become one sentence on stderr."""
    try:
        result: Any = nfexport.main(args, prog_name="nfexport", standalone_mode=False)
    except NfexportError as error:
        complain(_one_line(str(error)))
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return EXIT_INPUT
    except click.UsageError as error:
        hint = f"; see '{error.ctx.command_path} --help'" if error.ctx is not None else ""
        complain(_one_line(error.format_message().rstrip(".") + hint))
        return EXIT_INPUT
    except click.ClickException as error:
        complain(_one_line(error.format_message()))
        return EXIT_INPUT
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; nothing was written")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return _NO_READER
    return result if isinstance(result, int) else 0


def _one_line(sentence: str) -> str:
    return " ".join(sentence.split())


def _terminate(number: int, _: Any) -> None:
    # exit through the normal path, so that half-written files are removed
    raise KeyboardInterrupt

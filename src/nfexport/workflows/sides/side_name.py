"""How a side of a comparison is written.

SUBJECT[@WHERE[:KEY=VALUE[,KEY=VALUE…]]]

model.onnx                                in ONNX Runtime at its defaults
model.onnx@onnxruntime:opt=off,threads=1  as its graph stands, on one thread
model.onnx@openvino                       in another runtime
resnet18@torch:checkpoint=best.pth        a module in PyTorch, with these weights
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from nfexport.errors import InputError, did_you_mean
from nfexport.runtimes import runtimes

TORCH = "torch"
"""Where modules run."""

IN_A_RUNTIME = ("opt", "threads", "provider")
IN_TORCH = ("checkpoint", "seed", "num-classes", "in-chans")
EXAMPLE = "write it as FILE@RUNTIME:KEY=VALUE, such as model.onnx@onnxruntime:opt=off"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideName:
    """A side as it was written: subject is a file, a folder or the name of a model, where the runtime that was named,
    or 'torch', None if none was."""

    written: str
    subject: str
    where: str | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The subject as a path."""
        return Path(self.subject)

    @property
    def optimises(self) -> bool:
        """False if the graph is to run as it stands."""
        return self.options.get("opt") != "off"

    @property
    def threads(self) -> int | None:
        """The number of threads for one inference, None if it was not given."""
        return self.number("threads")

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers, in order of preference."""
        return tuple(part for part in self.options.get("provider", "").split("+") if part)

    def number(self, key: str) -> int | None:
        """Return an option that is a whole number, None if it was not given."""
        return None if key not in self.options else int(self.options[key])


def parse_side(text: str) -> SideName:
    """Return a side as it is written. Raises InputError, naming the text, for an option that it does not have.

    What follows the last '@' is a runtime only if it is the name of one: revisions ('hf-hub:org/name@v2') and paths
    may have an '@' too."""
    subject, at, rest = text.rpartition("@")
    where, _, listed = rest.partition(":")
    if not at or not subject or where not in (TORCH, *runtimes()):
        if at and not Path(text).exists() and subject.endswith(".onnx"):
            raise InputError(
                f"'{where}' in '{text}' is not a runtime",
                fix=did_you_mean(where, runtimes()) or f"use one of {', '.join(runtimes())}",
            )
        subject, where, listed = text, "", ""
    known = IN_TORCH if where == TORCH else IN_A_RUNTIME
    options: dict[str, str] = {}
    for part in filter(None, listed.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise InputError(f"'{part}' in '{text}' is not an option of a side", fix=f"use one of {', '.join(known)}")
        options[key] = value
    for key in ("threads", "seed", "num-classes", "in-chans"):
        if key in options and not options[key].isdecimal():
            raise InputError(f"'{key}={options[key]}' in '{text}' is not a whole number", fix=EXAMPLE)
    if options.get("opt", "on") not in ("on", "off"):
        raise InputError(f"'opt={options['opt']}' in '{text}' is neither on nor off", fix=EXAMPLE)
    return SideName(written=text, subject=subject, where=where or None, options=options)

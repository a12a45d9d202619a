"""The runtimes that can run an ONNX file, one file each.

To add one, add a file: `runtimes/NAME.py` with a function `open_session(model)` that returns a Session, and with
`RUNTIME = Runtime(name="NAME", …)`, which says how it is installed and which options it takes (session/protocol.py).
A file imports neither numpy nor the runtime's own packages at its top, so that `--help` can list what there is. If
the packages are optional, add an extra NAME to pyproject.toml. Another package adds a runtime by an entry point of
the group `nfexport.runtimes` that names its Runtime.

Sessions refuse with OnnxFileError, stop with RuntimeError, and compute in float32 where a file says float32: what a
runtime does faster and less exactly by default is turned off in its file, with the reason.
"""

from __future__ import annotations

from nfexport.runtimes.session.protocol import Model, Runtime, Session, one_line, source_of
from nfexport.runtimes.session.registry import find, load, open_session, runtimes

__all__ = ["Model", "Runtime", "Session", "find", "load", "one_line", "open_session", "runtimes", "source_of"]

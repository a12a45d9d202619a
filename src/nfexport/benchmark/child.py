"""The process that holds one file in one runtime, and runs it on request.

    python -m nfexport.benchmark.child FILE RUNTIME THREADS        THREADS 0: the runtime's default

Requests on standard input and replies on standard output are JSON, one message per line; whatever a runtime prints
goes to standard error. The first reply reports the loaded file; then the process answers {"feed": forms},
{"run": true} and {"peak": true}. {"refused": reason} is the reply where the runtime fails.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from nfexport.benchmark.feeds import draw_feeds
from nfexport.errors import NfexportError
from nfexport.runtimes import Session, open_session
from nfexport.runtimes import load as load_runtime

BLOCK = 1 << 20


def main(file: str, runtime: str, threads: str) -> None:
    """Load the file, then answer requests until the input ends.

    Replaces the standard output of the process, which runs nothing else, for good."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            session, seconds = load(Path(file), runtime, int(threads))
        except NfexportError as error:
            _send(out, {"refused": error.problem})
            return
        _send(out, {"seconds": seconds, "version": session.version})
        feeds: dict[str, Any] = {}
        for line in sys.stdin:
            request = json.loads(line)
            if "feed" in request:
                feeds = draw_feeds({name: (tuple(shape), dtype) for name, (shape, dtype) in request["feed"].items()})
            try:
                _send(out, answer(session, feeds, request))
            except (RuntimeError, NfexportError) as error:
                _send(out, {"refused": str(error)})


def load(file: Path, runtime: str, threads: int) -> tuple[Session, float]:
    """Return the file in the runtime, and the seconds of loading it, without import of the runtime and disk reads."""
    try:
        load_runtime(runtime)
        with file.open("rb") as stream:
            while stream.read(BLOCK):
                pass
    except (NfexportError, OSError):
        pass  # open_session reports it
    started = time.perf_counter()
    session = open_session(file, runtime=runtime, threads=threads or None)
    return session, time.perf_counter() - started


def answer(session: Session, feeds: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request: the peak memory, or one timed inference, in milliseconds, after one that warms up."""
    if "peak" in request:
        return {"peak": peak_memory()}
    session.run(feeds)
    cpu, wall = time.process_time(), time.perf_counter()
    session.run(feeds)
    return {"wall": 1000 * (time.perf_counter() - wall), "cpu": 1000 * (time.process_time() - cpu)}


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _send(out: IO[str], message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The process that holds one file in one runtime, and runs it when it is told to.

    python -m nfexport.benchmark.child FILE RUNTIME THREADS        THREADS 0: as the runtime likes

It speaks JSON, a line a message, on what its standard output was when it started; what a runtime prints goes
to standard error. It says what it loaded, and answers {"feed": forms}, {"run": true} and {"peak": true}. A
runtime's refusal is {"refused": reason}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from nfexport.benchmark.feeds import draw
from nfexport.errors import NfexportError
from nfexport.runtimes import Session, open_session
from nfexport.runtimes import load as load_runtime

BLOCK = 1 << 20


def main(file: str, runtime: str, threads: str) -> None:
    """Load the file, then answer until the input ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            session, seconds = load(Path(file), runtime, int(threads))
        except NfexportError as error:
            _say(out, {"refused": error.problem})
            return
        _say(out, {"seconds": seconds, "version": session.version})
        feeds: dict[str, Any] = {}
        for line in sys.stdin:
            asked = json.loads(line)
            if "feed" in asked:
                feeds = draw({name: (tuple(shape), dtype) for name, (shape, dtype) in asked["feed"].items()})
            try:
                _say(out, answer(session, feeds, asked))
            except (RuntimeError, NfexportError) as error:
                _say(out, {"refused": str(error)})


def load(file: Path, runtime: str, threads: int) -> tuple[Session, float]:
    """Return the file in the runtime, and the seconds that loading took: neither its import nor the disk's."""
    try:
        load_runtime(runtime)
        with file.open("rb") as stream:
            while stream.read(BLOCK):
                pass
    except (NfexportError, OSError):
        pass  # open_session says what is wrong
    started = time.perf_counter()
    session = open_session(file, runtime=runtime, threads=threads or None)
    return session, time.perf_counter() - started


def answer(session: Session, feeds: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked: run once untimed to have threads and caches ready, and once timed, in milliseconds."""
    if "peak" in asked:
        return {"peak": peak_memory()}
    session.run(feeds)
    cpu, wall = time.process_time(), time.perf_counter()
    session.run(feeds)
    return {"wall": 1000 * (time.perf_counter() - wall), "cpu": 1000 * (time.process_time() - cpu)}


def peak_memory() -> int | None:
    """Return the most memory in bytes that this process ever held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _say(out: IO[str], message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

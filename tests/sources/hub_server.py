"""A server that answers as the model hub does, for the client that is imported here or in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

COMMIT = "c0ffee" + "0" * 34


@contextlib.contextmanager
def serving_repository(name: str, files: Mapping[str, bytes], *, commit: str = COMMIT) -> Iterator[str]:
    """Serve the files of one repository, at its branch main and at its commit; give the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def _answer(self) -> bytes:
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            repository, revision, file = found.groups() if found else ("", "", "")
            reason = (
                "RepoNotFound"
                if repository != name
                else "RevisionNotFound"
                if revision not in ("main", commit)
                else "EntryNotFound"
                if file not in files
                else None
            )
            content = b"" if reason else files[file]
            self.send_response(404 if reason else 200)
            self.send_header("X-Repo-Commit", commit)
            if reason:
                self.send_header("X-Error-Code", reason)
            else:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

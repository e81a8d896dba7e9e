"""Serve a built book by HTTP."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
from pathlib import Path
from urllib.parse import urlsplit

from ..types import InputError

_LAST_PORT = 65535
_COMPRESSED = {".html", ".js", ".mjs", ".css", ".svg", ".json", ".txt", ".inv", ".wasm"}


class _BookHandler(http.server.SimpleHTTPRequestHandler):
    """Static files of one folder, text gzipped, and nothing outside of it."""

    protocol_version = "HTTP/1.1"
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".wasm": "application/wasm",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
    }

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a reader who leaves a page before it is whole
            super().handle()

    def _respond(self, with_body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            location = urlsplit(self.path)
            if not location.path.endswith("/"):  # else links of the page would lead one folder too high
                self._redirect(location.path + "/")
                return
            path /= "index.html"
        inside = path.resolve().is_relative_to(Path(self.directory).resolve())
        if not inside or not path.is_file():
            self.send_error(404)
            return
        zipped = path.suffix in _COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", "")
        body = _file_bytes(path, path.stat().st_mtime_ns, zipped)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Vary", "Accept-Encoding")
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _redirect(self, location: str) -> None:
        self.send_response(301)
        self.send_header("Location", "/" + location.lstrip("/"))  # two leading slashes would name another host
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a page is dozens of requests."""


@functools.lru_cache(maxsize=256)
def _file_bytes(path: Path, modified: int, zipped: bool) -> bytes:
    data = path.read_bytes()
    return gzip.compress(data, 6, mtime=0) if zipped else data


def server(html: Path, port: int = 8000) -> http.server.ThreadingHTTPServer:
    """A server of the folder `html` on this machine only, not yet running; port 0 takes a free one."""
    html = Path(html).resolve()
    if not (html / "index.html").is_file():
        raise InputError(html, "holds no built book", "Build it first: make book.")
    if not 0 <= port <= _LAST_PORT:
        raise InputError(f"--port {port}", "no such port", f"Choose one from 1024 to {_LAST_PORT}, or 0 for any that is free.")
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_BookHandler, directory=str(html)))
    except OSError as error:  # in use, or kept for the system
        problem = f"a server cannot listen there ({error.strerror})"
        raise InputError(f"--port {port}", problem, "Choose another one, or 0 for any that is free.") from error


def serve(html: Path, port: int = 8000) -> None:
    """Serve a built book until interrupted."""
    with server(html, port) as running:
        print(f"http://localhost:{running.server_port}   (Ctrl-C ends it)")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()

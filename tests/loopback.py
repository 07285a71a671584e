"""Servers on loopback: in place of W&B's one that misbehaves on purpose and writes down what it is sent, and one of files.

Separate because they are no tests. Nothing leaves this machine.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Heard:
    """What was sent: (method, path, headers, body) of every request."""

    address: str
    requests: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)


@contextmanager
def answering(code: int, body: Any = None) -> Iterator[Heard]:
    """Answers everything with one code."""
    heard = Heard("")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(size).decode(errors="replace")
            heard.requests.append((self.command, self.path, dict(self.headers), text))
            content = json.dumps(
                body if body is not None else {"errors": [{"message": "no"}]}
            ).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *given: Any) -> None:
            """Silent."""

    with _started(Handler) as heard.address:
        yield heard


@contextmanager
def serving(folder: Path, kept_back: int = 0) -> Iterator[Heard]:
    """Gives the files of a folder, or says 404; of each it keeps the last bytes back and hangs up."""
    heard = Heard("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.requests.append((self.command, self.path, dict(self.headers), ""))
            file = folder / self.path.removeprefix("/")
            if not file.is_file():
                return self.send_error(404)
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) - kept_back])

        def log_message(self, *given: Any) -> None:
            """Silent."""

    with _started(Handler) as heard.address:
        yield heard


@contextmanager
def _started(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which it answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[Heard]:
    """Accepts every connection and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []
    ended = threading.Event()

    def accept() -> None:
        while not ended.is_set():
            try:
                open_ones.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield Heard(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        ended.set()
        listener.close()
        for one in open_ones:
            one.close()


@contextmanager
def absent() -> Iterator[Heard]:
    """An address where nobody listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    yield Heard(address)

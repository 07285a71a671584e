"""Servers on the loopback interface: of files, and faulty ones in place of W&B's."""

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
class Server:
    """The address of a server and its requests: (method, path, headers, body)."""

    address: str
    requests: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)


@contextmanager
def answering(code: int, body: Any = None) -> Iterator[Server]:
    """Answer every request with one status code."""
    server = Server("")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(size).decode(errors="replace")
            server.requests.append((self.command, self.path, dict(self.headers), text))
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
            """Print nothing."""

    with _started(Handler) as server.address:
        yield server


@contextmanager
def serving(folder: Path, kept_back: int = 0) -> Iterator[Server]:
    """Serve the files of a folder, each without its last `kept_back` bytes, or answer 404."""
    server = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.command, self.path, dict(self.headers), ""))
            file = folder / self.path.removeprefix("/")
            if not file.is_file():
                return self.send_error(404)
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) - kept_back])

        def log_message(self, *given: Any) -> None:
            """Print nothing."""

    with _started(Handler) as server.address:
        yield server


@contextmanager
def _started(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server in a thread and yield its address."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        listener.shutdown()
        listener.server_close()


@contextmanager
def silent() -> Iterator[Server]:
    """Accept every connection and never answer."""
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
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        ended.set()
        listener.close()
        for one in open_ones:
            one.close()


@contextmanager
def absent() -> Iterator[Server]:
    """Yield an address at which no server listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    yield Server(address)

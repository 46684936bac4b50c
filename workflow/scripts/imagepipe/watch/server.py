"""`imagepipe watch --web`: a page on this machine that shows the trainings as they run.

It answers requests for the page and for its data, and serves no files. A request with another
server's name in its `Host` header is refused: otherwise, a web page could read the answers once its
name points to this machine (DNS rebinding).
"""

import base64
import contextlib
import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from imagepipe.display.escaping import shorten
from imagepipe.display.page import page_environment
from imagepipe.errors import UserError
from imagepipe.watch.curves import Plot, plots_of, to_plot
from imagepipe.watch.status import State, TrainingStatus, Watcher, pause_after
from imagepipe.watch.texts import (
    NO_TRAININGS,
    TEXT_COLUMNS,
    cells,
    columns,
    doing,
    name,
    note,
    tally,
)

MOST_PLOTTED = 12
# A plot has no room for more.
MOST_POINTS = 400
LONGEST_CELL = 60
# Of a request: for the next bytes, and for all of it and the answer.
SECONDS_TO_ASK = 10
SECONDS_IN_ALL = 60
MOST_CONNECTIONS = 64
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DATA = "/trainings.json"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(folder: Path, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve the page of the trainings below a folder until SIGINT; announce its address.

    port: 0 for any free one. Raises `UserError` if the address cannot be had.
    """
    try:
        server = PageServer(folder, host, port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--host {host} --port {port}: {reason}; choose another one; port 0 is any free one"
        ) from None
    with server:
        port = server.server_port
        shown = f"[{host}]" if ":" in host else host
        # On the other side of a tunnel, "localhost" is the usual word.
        target = "localhost" if host == "127.0.0.1" else shown
        announce(f"http://{shown}:{port}/ shows {folder.absolute()}; Ctrl-C ends it")
        if host in LOOPBACK:
            announce(
                f"From another machine: ssh -L {port}:{target}:{port} {socket.gethostname()}, and "
                f"then open http://localhost:{port}/"
            )
        else:
            announce("Everyone who can reach this machine can open it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


class PageServer(ThreadingHTTPServer):
    """Serves the page of the trainings below a folder to several browsers at once."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.names = {*LOOPBACK, host.lower(), socket.gethostname().lower()}
        self.page = _page(folder)
        self.folder = folder
        self._watcher = Watcher(folder)
        self._lock = threading.Lock()
        self._data = b""
        self._next_look = 0.0
        # By connection, when it began.
        self._open: dict[Any, float] = {}
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        # Without HTTPServer's search for the host's full name, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, unless too many are at work."""
        if len(self._open) >= MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that take too long; `serve_forever` calls this twice a second."""
        now = time.monotonic()
        for request, begun in list(self._open.items()):
            if now - begun > SECONDS_IN_ALL:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def data(self) -> bytes:
        """Return the trainings as JSON; browsers that ask within a pause share the last look."""
        with self._lock:
            start = time.monotonic()
            if start >= self._next_look:
                self._data = json.dumps(as_json(self._watcher.look()), allow_nan=False).encode()
                end = time.monotonic()
                self._next_look = end + pause_after(end - start)
            return self._data

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over browsers that have gone."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests for the page and its data, and refuses all others."""

    server: PageServer
    timeout = SECONDS_TO_ASK

    def do_GET(self) -> None:
        if not self.is_for_this_server():
            self.send_error(
                HTTPStatus.MISDIRECTED_REQUEST,
                "Not a name of this server",
                "Open it by its address, or give its name as --host.",
            )
        elif self.path == "/":
            self.answer("text/html; charset=utf-8", self.server.page)
        elif self.path == DATA:
            self.answer("application/json", self.server.data())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def is_for_this_server(self) -> bool:
        """Say whether the request names this machine, or the address at which it arrived."""
        try:
            asked = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            return False
        # At the address "::", one of IPv4 has this prefix.
        address = self.connection.getsockname()[0].removeprefix("::ffff:")
        return asked in self.server.names or asked == address

    def answer(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "imagepipe"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal as it is."""


def as_json(found: Sequence[TrainingStatus]) -> dict[str, Any]:
    """Return what the page shows, as plain values."""
    now = time.time()
    rows = [cells(one) for one in found]
    plotted = to_plot(found, MOST_PLOTTED)
    return {
        "time": time.strftime("%H:%M:%S", time.localtime(now)),
        "tally": tally(found) or NO_TRAININGS,
        "columns": [
            {"name": column, "number": column not in TEXT_COLUMNS} for column in columns(rows)
        ],
        "trainings": [
            {
                "name": name(one),
                "state": one.state,
                "cells": {column: shorten(text, LONGEST_CELL) for column, text in row.items()},
                "note": note(one, now),
                "doing": doing(one),
                "fraction": _fraction(one),
                "plots": [_plot(plot) for plot in plots_of(one)] if one in plotted else None,
            }
            for one, row in zip(found, rows, strict=True)
        ],
    }


def _fraction(one: TrainingStatus) -> float | None:
    """Return how much of a running training is done, 0…1, if it is known."""
    if one.state != State.RUNNING or not one.num_epochs:
        return None
    return min(1.0, (one.epochs_done + (one.fraction or 0.0)) / one.num_epochs)


def _plot(plot: Plot) -> dict[str, Any]:
    return {
        "title": plot.title,
        "last_epoch": plot.last_epoch,
        "ticks": plot.ticks,
        "curves": [
            {
                "name": curve.name,
                "label": curve.label,
                "dashed": curve.dashed,
                "points": thinned(curve.points),
            }
            for curve in plot.curves
        ],
    }


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return points at equal distances, and the last one: `MOST_POINTS` and one at most."""
    return [*points[:-1][:: len(points) // MOST_POINTS + 1], points[-1]]


def _page(folder: Path) -> bytes:
    """Return the page, which its script fills."""
    source = Path(__file__)
    environment = page_environment(source.parent)
    script = source.with_suffix(".js").read_text(encoding="utf-8")
    style = source.with_suffix(".css").read_text(encoding="utf-8")
    html = environment.get_template("server.html.j2").render(
        title=f"Trainings of {folder.absolute().name}",
        folder=folder.absolute(),
        sections=[("curves", "Curves"), ("trainings", "All trainings")],
        own_style=Markup(style),
        own_script=Markup(script),
        own_script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return html.encode()

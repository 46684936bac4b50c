"""A stand-in on this machine for Kaggle's server, which the real command `kaggle` then asks.

The command has a setting to ask http://localhost. As its requests go through the proxy that the
environment names, the stand-in is that proxy, on whatever port is free; so nothing that the
command asks for leaves this machine.
"""

import base64
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from builders import served

USER, KEY, TOKEN = "somebody", "secretkey", "secrettoken"
AUTHORISED = (
    f"Basic {base64.b64encode(f'{USER}:{KEY}'.encode()).decode()}",
    f"Bearer {TOKEN}",
)

installed = pytest.mark.skipif(
    shutil.which("kaggle", path=str(Path(sys.executable).parent)) is None,
    reason="the command kaggle is not installed beside Python",
)


@dataclass
class StandIn:
    """What the stand-in has and has been asked for.

    `content` is the competition's .zip file. `failure` is a status and a message with which the
    competition is refused (an empty message: a page and not JSON). Of the file, `sent` bytes come,
    before nothing more comes if they are not all.
    """

    address: str = ""
    content: bytes = b""
    failure: tuple[int, str] | None = None
    sent: int | None = None
    competitions: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stand_in(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[StandIn]:
    """Run a stand-in, and let every command `kaggle` ask it, with no credentials but in `home`."""
    found = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked = json.loads(self.rfile.read(length))
            if self.path.endswith("/IntrospectToken"):
                good = asked["token"] == TOKEN
                self.answer(200, {"active": good, "username": USER if good else ""})
            elif self.headers["Authorization"] not in AUTHORISED:
                self.answer(401, {"code": 401, "message": "Unauthenticated"})
            elif found.failure is not None:
                status, message = found.failure
                self.answer(status, {"code": status, "message": message} if message else None)
            else:
                found.competitions.append(asked["competitionName"])
                self.send_response(302)
                self.send_header("Location", "http://localhost/storage/archive.zip?signature=x")
                self.end_headers()

        def answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode() if content else b"<html>"
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if content else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            asked = self.headers["Range"]
            found.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            size = len(found.content)
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            body = found.content[start:]
            self.wfile.write(body[: found.sent])
            if found.sent is not None and found.sent < len(body):
                self.wfile.flush()
                found.closing.wait(30)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "VERBOSE", "VERBOSE_OUTPUT", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    with served(Handler) as address:
        found.address = address
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, address)
        yield found
        found.closing.set()


def log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the command credentials that the stand-in accepts."""
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)

"""A stand-in on this machine for Kaggle's server, which the real kagglehub then asks.

kagglehub has a setting to ask http://localhost. As its requests go through the proxy that the
environment names, the stand-in is that proxy, on whatever port is free: nothing leaves the machine.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from importlib.util import find_spec
from pathlib import Path

import pytest

from builders import served

USER, KEY, TOKEN = "somebody", "secretkey", "secrettoken"
AUTHORIZED = (
    f"Basic {base64.b64encode(f'{USER}:{KEY}'.encode()).decode()}",
    f"Bearer {TOKEN}",
)

installed = pytest.mark.skipif(find_spec("kagglehub") is None, reason="kagglehub is not installed")


@dataclass
class StandIn:
    """What the stand-in has and has been asked for.

    `content` is the competition's .zip file, `etag` its ETag. `failures` are statuses and messages
    with which the next requests for the competition are refused (an empty message: a page and not
    JSON), `storage_status` is that of the file itself. Of the file, `sent` bytes come, before
    nothing more comes if they are not all; with `is_mute`, Kaggle itself does not answer.
    """

    address: str = ""
    content: bytes = b""
    etag: str = '"one"'
    failures: list[tuple[int, str]] = field(default_factory=list)
    storage_status: int = 200
    sent: int | None = None
    is_mute: bool = False
    competitions: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stand_in(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[StandIn]:
    """Run a stand-in, and let kagglehub ask it, with no credentials but those in `home`."""
    found = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.is_mute:
                found.closing.wait(30)
            elif self.headers["Authorization"] not in AUTHORIZED:
                self.refuse(401, "Unauthenticated")
            elif found.failures:
                self.refuse(*found.failures.pop(0))
            else:
                found.competitions.append(asked["competitionName"])
                signature = f"signature{len(found.competitions)}"
                self.send_response(302)
                location = f"http://localhost/storage/archive.zip?X-Goog-Signature={signature}"
                self.send_header("Location", location)
                # A newer kagglehub, of which the library would print a line.
                self.send_header("X-Kaggle-HubVersion", "999.0")
                self.end_headers()

        def refuse(self, status: int, message: str) -> None:
            content = json.dumps({"code": status, "message": message}) if message else "<html>"
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if message else "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        def do_GET(self) -> None:
            if found.storage_status != 200:
                self.refuse(found.storage_status, "")
                return
            asked, size = self.headers["Range"], len(found.content)
            # kagglehub's own request for the file, which the address is taken from, has no range
            # and asks for compression.
            if self.headers["Accept-Encoding"] == "identity":
                found.ranges.append(asked)
            if self.headers["If-Range"] not in (None, found.etag):
                asked = None
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            if asked and start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", found.etag)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.send_header("X-Kaggle-HubVersion", "999.0")
            self.end_headers()
            body = found.content[start:]
            with suppress(ConnectionError):  # kagglehub's own request is not read to the end
                self.wfile.write(body[: found.sent])
            if found.sent is not None and found.sent < len(body):
                self.wfile.flush()
                found.closing.wait(30)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "NO_PROXY"):
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
    """Give kagglehub credentials that the stand-in accepts."""
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)

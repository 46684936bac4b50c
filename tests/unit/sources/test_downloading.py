"""Downloads that break off are carried on with, and bad ones are refused in one line."""

import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from builders import refused, served
from imagepipe.config.dataset import SourceFile
from imagepipe.sources import downloading
from imagepipe.sources.downloading import CHUNK_BYTES, GOOD_PROGRESS, RetryPolicy, download

CONTENT = bytes(range(256)) * 1000
OTHER = CONTENT[::-1]
HALF = 100_000  # no multiple of what is read at once
HASTY = RetryPolicy(tries=3, connect=5, read=5, pause=0.01, longest_pause=0.02)


@dataclass(frozen=True)
class Answer:
    """How the server answers one request: with the file, unless `status` is another than 200.

    `sent` is how many bytes of the body come before the connection is closed, or, with `hang`,
    before nothing more comes. `claim` is a Content-Length that is not the body's, "" leaves it out.
    """

    status: int = 200
    sent: int | None = None
    hang: bool = False
    claim: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """What a server has, how it answers (`answers` in turn, then as it should), what it heard."""

    address: str = ""
    content: bytes = CONTENT
    etag: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    answers: list[Answer] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.address}/archive.zip"

    def asked_for(self) -> list[str | None]:
        """Return the ranges that were asked for."""
        return [headers["Range"] for headers in self.heard]

    def body(self, headers: Message) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers as a server that knows its trade."""
        current = next(iter(self.etag.values()), None)
        if not self.ranges or not headers["Range"] or headers["If-Range"] not in (None, current):
            return 200, self.content, self.etag
        start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        size = len(self.content)
        if start >= size:
            return 416, b"", {"Content-Range": f"bytes */{size}"}
        return (
            206,
            self.content[start:],
            self.etag | {"Content-Range": f"bytes {start}-{size - 1}/{size}"},
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.heard.append(self.headers)
            answer = found.answers.pop(0) if found.answers else Answer()
            status, body, headers = found.body(self.headers)
            if answer.status != 200:
                status, body, headers = answer.status, b"no file", {}
            self.send_response_only(status)
            for name, value in (headers | answer.headers).items():
                self.send_header(name, value)
            claim = str(len(body)) if answer.claim is None else answer.claim
            if claim:
                self.send_header("Content-Length", claim)
            self.end_headers()
            self.wfile.write(body[: answer.sent])
            if answer.hang:
                self.wfile.flush()
                found.closing.wait(10)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with served(Handler) as address:
        found.address = address
        yield found
        found.closing.set()


def file_at(url: str | None, **changes: Any) -> SourceFile:
    return SourceFile(name="archive.zip", url=url, **changes)


def checksum_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_a_checked_file_is_all_that_is_left(tmp_path: Path, server: Server, algorithm: str) -> None:
    file = file_at(server.url, checksum=checksum_of(CONTENT, algorithm), bytes=len(CONTENT))
    path = download(file, tmp_path / "downloads", HASTY)
    assert path.read_bytes() == CONTENT
    assert names_in(tmp_path / "downloads") == [path.name]
    assert server.asked_for() == [None]


def test_a_whole_file_sent_as_a_range_is_taken(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing asked for a range."""
    whole = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    monkeypatch.setattr(Server, "body", lambda *_: (206, CONTENT, whole))
    path = download(file_at(server.url), tmp_path, HASTY)
    assert path.read_bytes() == CONTENT
    assert names_in(tmp_path) == [path.name]


def test_a_cut_download_is_carried_on_with(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [Answer(sent=HALF)]
    path = download(file_at(server.url), tmp_path, HASTY)
    assert path.read_bytes() == CONTENT
    assert server.asked_for() == [None, f"bytes={HALF}-"]
    assert server.heard[1]["If-Range"] == '"one"'
    expected = f"archive.zip: cut after {HALF:,} of {len(CONTENT):,} bytes; try 2 of 3 in 0.01 s"
    assert expected in caplog.messages


def test_a_later_call_carries_on(tmp_path: Path, server: Server) -> None:
    server.answers = [Answer(sent=HALF), Answer(status=503), Answer(status=503)]
    with refused(server.url, "503", "last of 3 tries", "carry on from there", "raw_dir"):
        download(file_at(server.url), tmp_path, HASTY)
    path = download(file_at(server.url), tmp_path, HASTY)
    assert path.read_bytes() == CONTENT
    assert server.asked_for()[-1] == f"bytes={HALF}-"


def test_a_file_that_was_whole_when_the_job_was_killed_is_not_sent_again(
    tmp_path: Path, server: Server
) -> None:
    server.answers = [Answer(sent=HALF), *2 * [Answer(status=503)]]
    with refused("503"):
        download(file_at(server.url), tmp_path, HASTY)
    (tmp_path / "archive.zip.partial").write_bytes(CONTENT)
    server.content = CONTENT
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.asked_for()[-1] == f"bytes={len(CONTENT)}-"
    assert len(server.heard) == 4


@pytest.mark.parametrize("kept", [HALF, len(CONTENT)])
@pytest.mark.parametrize("size", [len(CONTENT), HALF // 2])
def test_a_file_that_has_changed_between_two_calls_starts_anew(
    tmp_path: Path, server: Server, kept: int, size: int
) -> None:
    server.answers = [Answer(sent=HALF), *2 * [Answer(status=503)]]
    with refused("503"):
        download(file_at(server.url), tmp_path, HASTY)
    (tmp_path / "archive.zip.partial").write_bytes(CONTENT[:kept])
    server.content, server.etag = OTHER[:size], {"ETag": '"two"'}
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == OTHER[:size]


def test_more_than_the_server_has_is_dropped(tmp_path: Path, server: Server) -> None:
    server.answers = [Answer(sent=HALF), *2 * [Answer(status=503)]]
    with refused("503"):
        download(file_at(server.url), tmp_path, HASTY)
    (tmp_path / "archive.zip.partial").write_bytes(CONTENT + CONTENT)
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"two"', "Content-Range": f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}"},
        {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"},
        {"Content-Range": ""},
    ],
    ids=["another etag", "another start", "no start"],
)
def test_an_answer_that_does_not_fit_is_not_joined(
    tmp_path: Path, server: Server, headers: dict[str, str]
) -> None:
    """As of a server that knows ranges, but not If-Range, or ranges of its own choice."""
    server.answers = [Answer(sent=HALF), Answer(headers=headers)]
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.asked_for() == [None, f"bytes={HALF}-", None]


def test_an_etag_that_a_partial_answer_leaves_out_is_no_other_etag(
    tmp_path: Path, server: Server
) -> None:
    server.etag = {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}
    server.answers = [Answer(sent=HALF), Answer(headers={"Last-Modified": ""})]
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.heard[1]["If-Range"] == "Sat, 01 Jan 2000 00:00:00 GMT"
    assert server.asked_for() == [None, f"bytes={HALF}-"]


def test_a_server_without_ranges_starts_anew(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.ranges = False
    server.answers = [Answer(sent=HALF)]
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert "archive.zip: the server starts anew" in caplog.messages


@pytest.mark.parametrize(
    "etag",
    [{}, {"ETag": 'W/"weak"'}, {"Last-Modified": "now", "Date": "now"}],
    ids=["none", "weak", "of this second"],
)
@pytest.mark.parametrize("checked", [False, True])
def test_without_an_etag_only_a_file_with_a_checksum_is_carried_on_with(
    tmp_path: Path, server: Server, etag: dict[str, str], checked: bool
) -> None:
    server.etag = etag
    server.answers = [Answer(sent=HALF)]
    file = file_at(server.url, checksum=checksum_of(CONTENT) if checked else None)
    assert download(file, tmp_path, HASTY).read_bytes() == CONTENT
    assert server.asked_for() == [None, f"bytes={HALF}-" if checked else None]


def test_parts_that_do_not_fit_together_are_dropped_for_the_whole(
    tmp_path: Path, server: Server
) -> None:
    server.etag = {}
    server.answers = [Answer(sent=HALF), *2 * [Answer(status=503)]]
    file = file_at(server.url, checksum=checksum_of(OTHER))
    with refused("503"):
        download(file, tmp_path, HASTY)
    server.content = OTHER
    assert download(file, tmp_path, HASTY).read_bytes() == OTHER
    assert server.asked_for()[-2:] == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("etag", [None, "", "rubbish", 'http://other/archive.zip\n"one"'])
def test_a_partial_file_of_unknown_origin_is_not_used(
    tmp_path: Path, server: Server, etag: str | None
) -> None:
    (tmp_path / "archive.zip.partial").write_bytes(OTHER[:HALF])
    if etag is not None:
        (tmp_path / "archive.zip.partial.etag").write_text(etag)
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.asked_for() == [None]


@pytest.mark.parametrize(
    "file",
    [{"checksum": f"md5:{'0' * 32}"}, {"checksum": f"sha256:{'0' * 64}"}, {"bytes": 1234}],
    ids=["md5", "sha256", "bytes"],
)
@pytest.mark.parametrize("claim", [None, ""], ids=["size known", "size unknown"])
def test_a_file_that_is_another_is_refused_and_nothing_is_kept(
    tmp_path: Path, server: Server, file: dict[str, Any], claim: str | None
) -> None:
    server.answers = [Answer(claim=claim)]
    words = [file["checksum"].split(":")[1]] if "checksum" in file else ["1,234"]
    with refused(server.url, "nothing was kept", *words):
        download(file_at(server.url, **file), tmp_path, HASTY)
    assert names_in(tmp_path) == []
    assert len(server.heard) == 1


def test_a_file_that_is_too_long_does_not_fill_the_disk(tmp_path: Path, server: Server) -> None:
    """It is refused by the length that is announced, or as soon as there is more than expected."""
    answers = (Answer(sent=0, hang=True), Answer(claim="", sent=HALF, hang=True))
    for number, answer in enumerate(answers, start=1):
        server.answers = [answer]
        with refused("nothing was kept", "1,234"):
            download(file_at(server.url, bytes=1234), tmp_path, RetryPolicy(tries=2, read=0.5))
        assert names_in(tmp_path) == []
        assert len(server.heard) == number


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(tmp_path: Path, server: Server, status: int) -> None:
    server.answers = 2 * [Answer(status=status)]
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert len(server.heard) == 3


@pytest.mark.parametrize(
    ("status", "name"),
    [(401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (410, "Gone")],
)
def test_a_lasting_failure_is_not_tried_again(
    tmp_path: Path, server: Server, status: int, name: str
) -> None:
    server.answers = [Answer(status=status)]
    with refused(
        server.url, f"the server answers {status} {name}", "correct the dataset file", "raw_dir"
    ):
        download(file_at(server.url), tmp_path, HASTY)
    assert len(server.heard) == 1
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7),
        ("100000", 60),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 2),
        ("soon", 2),
        ("", 2),
    ],
)
def test_it_waits_as_long_as_the_server_asks_for_within_bounds(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, asked: str, waited: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(downloading.time, "sleep", pauses.append)
    server.answers = [Answer(status=429, headers={"Retry-After": asked} if asked else {})]
    download(file_at(server.url), tmp_path, RetryPolicy(pause=2, longest_pause=60))
    assert pauses == [waited]


def test_each_pause_is_twice_as_long_and_the_tries_end(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(downloading.time, "sleep", pauses.append)
    server.answers = 9 * [Answer(status=500)]
    with refused("500 Internal Server Error", "last of 5 tries", "call again later"):
        download(file_at(server.url), tmp_path, RetryPolicy(longest_pause=6))
    assert pauses == [1, 2, 4, 6]


def test_a_download_that_is_always_cut_says_how_far_it_came(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.answers = 9 * [Answer(sent=HALF)]
    with refused(f"cut after {HALF:,} of {len(CONTENT):,} bytes", "last of 3", "carry on"):
        download(file_at(server.url), tmp_path, HASTY)
    assert len(server.heard) == 3


def test_a_length_that_is_not_true_is_a_cut(tmp_path: Path, server: Server) -> None:
    """Without a length from the server, the dataset file's is the measure."""
    server.answers = [Answer(claim="300000")]
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    server.answers = [Answer(claim="", sent=HALF)]
    file = file_at(server.url, bytes=len(CONTENT))
    assert download(file, tmp_path, HASTY).read_bytes() == CONTENT


def test_good_progress_is_worth_further_tries(tmp_path: Path, server: Server) -> None:
    server.content = CONTENT * (4 * GOOD_PROGRESS // len(CONTENT) + 1)
    server.answers = 4 * [Answer(sent=GOOD_PROGRESS)]
    path = download(file_at(server.url), tmp_path, RetryPolicy(tries=2, pause=0.01))
    assert path.read_bytes() == server.content
    assert len(server.heard) == 5


@pytest.mark.parametrize("sent", [0, HALF])
def test_silence_is_not_waited_for_long(tmp_path: Path, server: Server, sent: int) -> None:
    server.answers = [Answer(sent=sent, hang=True), Answer(sent=0, hang=True)]
    kept = sent - sent % CHUNK_BYTES
    with refused(f"nothing came for 0.2 s after {kept:,} of", "last of 2 tries"):
        download(file_at(server.url), tmp_path, RetryPolicy(tries=2, read=0.2, pause=0.01))


def test_a_server_that_says_nothing_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/archive.zip"
        with refused(url, "no answer from 127.0.0.1", "within 0.2 s"):
            download(file_at(url), tmp_path, RetryPolicy(tries=2, read=0.2, pause=0.01))


def test_a_refused_connection_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/archive.zip"
        with refused(url, "no connection to 127.0.0.1", "(Connection refused)", "last of 3 tries"):
            download(file_at(url), tmp_path, HASTY)
    assert names_in(tmp_path) == []


def test_a_redirection_is_followed_and_what_is_broken_is_carried_on_with(
    tmp_path: Path, server: Server
) -> None:
    there = Answer(status=302, headers={"Location": "/elsewhere.zip"})
    server.answers = [there, Answer(sent=HALF), there]
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.asked_for()[-1] == f"bytes={HALF}-"


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/archive.zip", "file:///etc/passwd"])
def test_a_redirection_to_another_protocol_is_refused(
    tmp_path: Path, server: Server, location: str
) -> None:
    server.answers = [Answer(status=302, headers={"Location": location})]
    with refused(server.url, location):
        download(file_at(server.url), tmp_path, HASTY)
    assert len(server.heard) == 1
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("url", [None, "archive.zip", "ftp://127.0.0.1/a.zip", "file:///a.zip"])
def test_an_address_of_another_protocol_is_refused(tmp_path: Path, url: str | None) -> None:
    with refused("archive.zip", "url", "raw_dir"):
        download(file_at(url), tmp_path / "downloads", HASTY)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_has_arrived_outlives_a_stop_and_a_full_disk(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    stopped_by: type[BaseException] | BaseException,
) -> None:
    class Counter:
        def advance(self, units: int) -> None:
            raise stopped_by

        def __enter__(self) -> "Counter":
            return self

        def __exit__(self, *_: object) -> None:
            """Leave nothing."""

    with monkeypatch.context() as patch:
        patch.setattr(downloading, "counter", lambda **_: Counter())
        with pytest.raises(type(stopped_by) if isinstance(stopped_by, OSError) else stopped_by):
            download(file_at(server.url), tmp_path, HASTY)
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.asked_for() == [None, f"bytes={CHUNK_BYTES}-"]


def test_what_a_server_has_packed_is_kept_as_it_was_sent(tmp_path: Path, server: Server) -> None:
    """Some servers say of a .tar.gz that it is packed on the way; unpacked, it is another file."""
    server.etag = {"ETag": '"one"', "Content-Encoding": "gzip"}
    assert download(file_at(server.url), tmp_path, HASTY).read_bytes() == CONTENT
    assert server.heard[0]["Accept-Encoding"] == "identity"


def test_progress_is_logged_from_where_it_goes_on(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("imagepipe.progress.SECONDS_BETWEEN_LINES", 0)
    server.answers = [Answer(sent=HALF)]
    with caplog.at_level(logging.INFO):
        download(file_at(server.url), tmp_path, HASTY)
    lines = [line for line in caplog.messages if "download archive.zip" in line]
    assert f"{len(CONTENT):,} of {len(CONTENT):,} bytes" in lines[-1]

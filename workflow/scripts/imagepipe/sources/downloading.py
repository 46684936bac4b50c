"""Downloading a file: a broken one is carried on with, and no bad one is handed on.

A file grows as "NAME.partial". Beside it, "NAME.partial.json" holds its address and the mark (the
server's ETag or Last-Modified) by which the server tells whether the rest is still of the same
file. Both stay when the download fails or the job is killed, until a later call has the whole.
"""

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from imagepipe.errors import UserError
from imagepipe.files import file_hash, write_text
from imagepipe.progress import counter

logger = logging.getLogger(__name__)

PIECE = 1 << 14
# A try that has brought as much is followed by as many further ones as if it had been the first.
GOOD_PROGRESS = 1 << 20

WORTH_A_RETRY = (408, 429, *range(500, 600))


@dataclass(frozen=True)
class Patience:
    """How often a download is tried, and how long it waits, in seconds.

    `connect` is for the connection, `read` between two pieces of data, `pause` before the second
    try. Each further pause is twice as long, and none longer than `longest_pause`, even where the
    server asks for more.
    """

    tries: int = 5
    connect: float = 20
    read: float = 60
    pause: float = 1
    longest_pause: float = 120


PATIENCE = Patience()


class Broken(Exception):  # noqa: N818 - another try may succeed
    """A try has failed; the message says how. `lasting`: so would the next one."""

    def __init__(self, message: str, lasting: bool = False, wait: float = 0) -> None:
        super().__init__(message)
        self.lasting = lasting
        self.wait = wait


@dataclass
class Partial:
    """What has arrived of a file, in this call or an earlier one.

    `joined` tells that it is put together of what several answers have brought.
    """

    path: Path
    url: str
    joined: bool = False

    @property
    def notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def mark(self) -> str | None:
        """Return the server's mark of the file, if it has given one."""
        mark: str | None = self._read_notes().get("mark")
        return mark

    def drop_unless_usable(self, checked: bool) -> None:
        """Drop what could be of another file: of another address, or without mark or checksum."""
        if self._read_notes().get("url") != self.url or not (self.mark() or checked):
            self.drop()

    def begin(self, mark: str | None) -> None:
        """Start anew, with what the server now says of the file."""
        self.path.write_bytes(b"")
        self.joined = False
        write_text(self.notes, json.dumps({"url": self.url, "mark": mark}))

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.joined = False

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}


def download(file: dict[str, Any], folder: Path, patience: Patience = PATIENCE) -> Path:
    """Download a file of a dataset into `folder`, and return its path there, when it is checked.

    It carries on with what an earlier call has left there. Raises `UserError` if the file has no
    http or https address or cannot be had, and if it has another size or checksum than the dataset
    file says; then nothing of it is kept.
    """
    name, url = file["name"], file["url"]
    if url is None:
        raise UserError(f"{name}: the dataset file names no url; add one, or set raw_dir")
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise UserError(
            f"{name}: its url {url} is neither http nor https; correct it in the dataset file, "
            "or set raw_dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = Partial(folder / f"{name}.partial", url)
    with requests.Session() as session:
        receive_all(session, file, partial, patience)
        problem = difference(partial.path, file)
        if problem and partial.joined:
            logger.warning("%s: %s, put together of several parts; start anew", url, problem)
            partial.drop()
            receive_all(session, file, partial, patience)
            problem = difference(partial.path, file)
    if problem:
        raise refusal(partial, problem)
    partial.notes.unlink()
    return partial.path


def difference(path: Path, file: dict[str, Any]) -> str | None:
    """Say how a file differs from the size and checksum in the dataset file, if it does."""
    size = path.stat().st_size
    if file["bytes"] not in (None, size):
        return f"has {size:,} bytes where {file['bytes']:,} are expected"
    if file["checksum"] is not None:
        algorithm, expected = file["checksum"].split(":")
        found = file_hash(path, algorithm)
        if found != expected:
            return f"has the {algorithm} {found} where {expected} is expected"
    return None


def refusal(partial: Partial, problem: str) -> UserError:
    """Drop a download that is not what the dataset file says, and return the error to raise."""
    partial.drop()
    return UserError(
        f"{partial.url}: {problem}; nothing was kept: try again later, or correct the dataset file"
    )


def receive_all(
    session: requests.Session, file: dict[str, Any], partial: Partial, patience: Patience
) -> None:
    """Get the rest of a file, in as many tries as it takes and `patience` allows."""
    failures = 0
    while True:
        before = partial.size()
        try:
            receive(session, file, partial, patience)
            return
        except Broken as broken:
            failures = 1 if partial.size() - before >= GOOD_PROGRESS else failures + 1
            by_hand = f"get {file['name']} yourself and set raw_dir to its folder"
            if broken.lasting:
                raise UserError(
                    f"{partial.url}: {broken}; correct the url in the dataset file, or {by_hand}"
                ) from None
            if failures >= patience.tries:
                usable = partial.size() and (partial.mark() or file["checksum"])
                again = "call again to carry on from there" if usable else "call again later"
                raise UserError(
                    f"{partial.url}: {broken}, in the last of {patience.tries} tries; "
                    f"{again}, or {by_hand}"
                ) from None
            pause = min(
                max(broken.wait, patience.pause * 2 ** (failures - 1)), patience.longest_pause
            )
            logger.warning(
                "%s: %s; try %d of %d in %g s",
                file["name"],
                broken,
                failures + 1,
                patience.tries,
                pause,
            )
            time.sleep(pause)


def receive(
    session: requests.Session, file: dict[str, Any], partial: Partial, patience: Patience
) -> None:
    """Try once to get the rest of a file. Raises `Broken` if that fails."""
    partial.drop_unless_usable(checked=file["checksum"] is not None)
    have, mark = partial.size(), partial.mark()
    # The file as it is, not packed on the way: sizes and ranges count its own bytes.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if mark:
            headers["If-Range"] = mark
    with answer_to(session, partial.url, headers, patience) as response:
        if response.status_code == 416 and have:
            if size_in(response.headers) == have:
                partial.joined = True
                return
            partial.drop()
            raise Broken("the file has changed on the server")
        refuse_failure(response)
        now = mark_in(response.headers)
        if response.status_code == 206:
            changed = mark is not None and now is not None and now != mark
            if changed or start_in(response.headers) != have:
                partial.drop()
                raise Broken("the file has changed on the server")
        elif have:
            logger.warning("%s: the server starts anew", file["name"])
            have = 0
        if have:
            partial.joined = True
        else:
            partial.begin(now)
        total = size_in(response.headers)
        if total is not None and file["bytes"] not in (None, total):
            problem = f"has {total:,} bytes where {file['bytes']:,} are expected"
            raise refusal(partial, problem)
        append(response, file, partial, total, patience)


def answer_to(
    session: requests.Session, url: str, headers: Mapping[str, str], patience: Patience
) -> requests.Response:
    """Ask for a file, and return the answer, whose body has not been read."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    timeout = (patience.connect, patience.read)
    try:
        return session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.exceptions.ConnectTimeout:
        raise Broken(f"no connection to {host} within {patience.connect:g} s") from None
    except requests.Timeout:
        raise Broken(f"no answer from {host} within {patience.read:g} s") from None
    except requests.exceptions.SSLError as error:
        raise Broken(f"no secure connection to {host} ({reason(error)})", lasting=True) from None
    except requests.ConnectionError as error:
        raise Broken(f"no connection to {host} ({reason(error)})") from None
    except requests.RequestException as error:
        # Among them a redirection to what is neither http nor https.
        raise Broken(f"cannot be asked for ({reason(error)})", lasting=True) from None


def refuse_failure(response: requests.Response) -> None:
    """Raise `Broken` if an answer has no file."""
    status = response.status_code
    if status in (200, 206):
        return
    try:
        wait = urllib3.Retry().get_retry_after(response.raw) or 0
    except urllib3.exceptions.InvalidHeader:
        wait = 0
    words = f"{status} {response.reason}" if response.reason else str(status)
    raise Broken(f"the server answers {words}", status not in WORTH_A_RETRY, wait)


def append(
    response: requests.Response,
    file: dict[str, Any],
    partial: Partial,
    total: int | None,
    patience: Patience,
) -> None:
    """Write the body of an answer behind what has arrived. Raises `Broken` if it is cut."""
    expected = file["bytes"] if total is None else total
    have = partial.size()

    def place() -> str:
        return f"after {have:,} of {expected:,} bytes" if expected else f"after {have:,} bytes"

    with (
        counter(
            total=expected, description=f"download {file['name']}", unit="bytes", initial=have
        ) as bar,
        partial.path.open("ab") as output,
    ):
        try:
            for piece in response.raw.stream(PIECE, decode_content=False):
                output.write(piece)
                have += len(piece)
                bar.advance(len(piece))
                if expected is not None and have > expected:
                    problem = f"has more than the {expected:,} bytes that are expected"
                    raise refusal(partial, problem)
        except urllib3.exceptions.ReadTimeoutError:
            raise Broken(f"nothing came for {patience.read:g} s {place()}") from None
        except (urllib3.exceptions.HTTPError, ConnectionError):
            raise Broken(f"cut {place()}") from None
    if expected is not None and have < expected:
        raise Broken(f"cut {place()}")


def mark_in(headers: Mapping[str, str]) -> str | None:
    """Return the mark by which a server tells whether a file is still the same, byte for byte."""
    tag = headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    # What was changed within this second can change once more within it.
    modified = headers.get("Last-Modified")
    return modified if modified and modified != headers.get("Date") else None


def start_in(headers: Mapping[str, str]) -> int | None:
    """Return the number of the first byte in a partial answer."""
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def size_in(headers: Mapping[str, str]) -> int | None:
    """Return the size of the whole file, as far as the headers tell."""
    if "Content-Range" in headers:
        found = re.fullmatch(r"bytes .*/(\d+)", headers["Content-Range"].strip())
    else:
        found = re.fullmatch(r"(\d+)", headers.get("Content-Length", "").strip())
    return int(found[1]) if found else None


def reason(error: BaseException) -> str:
    """Return what the operating system says of a failed connection, or else the library."""
    inner: BaseException | None = error
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
    return " ".join((getattr(error, "strerror", None) or str(error)).split())

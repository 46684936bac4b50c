"""Downloads that resume after a failure, and hand on no bad file.

A file grows as NAME.partial. NAME.partial.etag beside it holds the file's origin and the server's
ETag (or Last-Modified), by which the server tells whether it still has the same file. Both stay
when a download fails or the job is killed, and the next call resumes from there.
"""

import logging
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import requests
import urllib3
from filelock import Timeout

from imagepipe.archives.locking import lock
from imagepipe.config.dataset import SourceFile
from imagepipe.errors import Stopped, UserError
from imagepipe.files import file_hash, write_text
from imagepipe.interruption import handled
from imagepipe.progress import counter

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 14
# An attempt that brings this much resets the count of failures.
GOOD_PROGRESS = 1 << 20


@dataclass(frozen=True)
class RetryPolicy:
    """Number of attempts, and times in seconds.

    `connect` limits the wait for a connection, `read` the wait for the next bytes. `pause` is the
    time before the second attempt; it doubles each time. `longest_pause` limits it, and the pause
    that a server asks for.
    """

    tries: int = 5
    connect: float = 20
    read: float = 60
    pause: float = 1
    longest_pause: float = 120


DEFAULT_RETRIES = RetryPolicy()


class DownloadError(Exception):
    """An attempt failed, and so will the next if `is_lasting`. The server asks for a `wait` (s)."""

    def __init__(self, message: str, is_lasting: bool = False, wait: float = 0) -> None:
        super().__init__(message)
        self.is_lasting, self.wait = is_lasting, wait


@contextmanager
def claimed(downloads: Path) -> Iterator[None]:
    """Keep other processes from a folder of downloads, and raise `Stopped` on SIGINT and SIGTERM.

    Another process is possible: Snakemake was killed and called again, and its job still runs.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        held = lock(downloads / "lock", timeout=0)
    except Timeout:
        raise UserError(
            f"{downloads}: another process is downloading into it; wait for it, or end it"
        ) from None

    def stop(number: int, _: object) -> None:
        name = signal.Signals(number).name
        raise Stopped(f"stopped by {name} while downloading; call again to carry on", number)

    try:
        with handled((signal.SIGINT, signal.SIGTERM), stop):
            yield
    finally:
        held.release()


def download(file: SourceFile, folder: Path, retries: RetryPolicy = DEFAULT_RETRIES) -> Path:
    """Download a file from its url to `folder`, check it, and return its path there.

    Raises `UserError` if the url is not http or https, if the file cannot be had, and if its size
    or checksum is not the dataset file's (nothing is kept then).
    """
    url = file.url or ""
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        problem = f"its url {url} is neither http nor https" if url else "it has no url"
        raise UserError(f"{file.name}: {problem}; correct the dataset file, or set raw_dir")
    path = Download(file, url, lambda: url, folder, retries).run()
    etag_file(path).unlink()
    return path


def etag_file(partial: Path) -> Path:
    """Return the path of the file with a partial file's origin and ETag."""
    return partial.with_name(f"{partial.name}.etag")


def remove(partial: Path) -> None:
    """Remove a partial file and its ETag."""
    for path in (partial, etag_file(partial)):
        path.unlink(missing_ok=True)


def difference(path: Path, file: SourceFile) -> str | None:
    """Say how a file differs from the size and checksum in the dataset file, if it does."""
    size = path.stat().st_size
    if file.bytes not in (None, size):
        return f"has {size:,} bytes where {file.bytes:,} are expected"
    algorithm, _, expected = (file.checksum or "").partition(":")
    if algorithm and (found := file_hash(path, algorithm)) != expected:
        return f"has the {algorithm} {found} where {expected} is expected"
    return None


@dataclass(frozen=True)
class Download:
    """A file, and where to get it.

    `origin` identifies it in messages and across calls. `find_url` returns its address before each
    attempt, or raises `DownloadError`. Messages advise the `correction` where another attempt would
    not help, or to get the file by hand as `by_hand` says.
    """

    file: SourceFile
    origin: str
    find_url: Callable[[], str]
    folder: Path
    retries: RetryPolicy
    correction: str = "correct the dataset file"
    by_hand: str = ""

    def run(self) -> Path:
        """Download the file, resume an earlier call's download, and return the path.

        Raises `UserError` if the file cannot be had, or is not as the dataset file says.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        failures, tries = 0, self.retries.tries
        with requests.Session() as session:
            while True:
                before = self._size()
                try:
                    self._attempt(session)
                    return self._path
                except DownloadError as error:
                    failures = 1 if self._size() - before >= GOOD_PROGRESS else failures + 1
                    if error.is_lasting or failures >= tries:
                        self._give_up(error)
                    pause = max(error.wait, self.retries.pause * 2 ** (failures - 1))
                    pause = min(pause, self.retries.longest_pause)
                    words = "%s: %s; try %d of %d in %g s"
                    logger.warning(words, self.file.name, error, failures + 1, tries, pause)
                    time.sleep(pause)

    def _give_up(self, error: DownloadError) -> NoReturn:
        problem, advice = f"{error}", self.correction
        if not error.is_lasting:
            problem += f", in the last of {self.retries.tries} tries"
            can_resume = self._etag() or (self._size() and self.file.checksum)
            advice = f"call again {'to carry on from there' if can_resume else 'later'}"
        by_hand = self.by_hand or f"get {self.file.name} yourself and set raw_dir to its folder"
        raise UserError(f"{self.origin}: {problem}; {advice}, or {by_hand}") from None

    def _attempt(self, session: requests.Session) -> None:
        """Receive the rest of the file, and check the whole."""
        etag = self._etag()
        if not (etag or self.file.checksum):
            remove(self._path)  # nothing would tell whether the rest belongs to it
        have = self._size()
        # Not compressed for the transfer: sizes and ranges count the file's own bytes.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": etag} if etag else {})
        url, timeout = self.find_url(), (self.retries.connect, self.retries.read)
        with connection_errors(url, self.retries):
            response = session.get(url, headers=headers, stream=True, timeout=timeout)
        with response:
            found = etag_in(response.headers)
            start, total = start_and_total(response.headers)
            match response.status_code:
                case 416 if have and have == total:
                    pass  # the whole had arrived
                case 206 if have and start == have and etag in (None, found or etag):
                    self._append(response, have, total)
                case 206 | 416 if have or start:
                    remove(self._path)
                    raise DownloadError("the file has changed on the server")
                case 200 | 206:
                    if have:
                        logger.warning("%s: the server starts anew", self.file.name)
                        have = 0
                    self._path.write_bytes(b"")
                    write_text(etag_file(self._path), f"{self.origin}\n{found or ''}")
                    self._append(response, have, total)
                case _:
                    raise failure(response, "the server")
        problem = difference(self._path, self.file)
        if problem and have:
            remove(self._path)
            raise DownloadError(f"{problem}, after it was resumed")
        if problem:
            self._refuse(problem)

    def _append(self, response: requests.Response, have: int, total: int | None) -> None:
        """Append the body of a response to the `have` bytes that have arrived."""
        expected = self.file.bytes or total
        if total not in (None, expected):
            self._refuse(f"has {total:,} bytes where {expected:,} are expected")
        title = f"download {self.file.name}"
        place = f"of {expected:,} bytes" if expected else "bytes"
        with (
            counter(total=expected, description=title, unit="bytes", initial=have) as bar,
            self._path.open("ab") as output,
        ):
            try:
                for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                    output.write(chunk)
                    have += len(chunk)
                    bar.advance(len(chunk))
                    if expected and have > expected:
                        self._refuse(f"has more than the {expected:,} bytes that are expected")
            except urllib3.exceptions.ReadTimeoutError:
                silence = f"nothing came for {self.retries.read:g} s"
                raise DownloadError(f"{silence} after {have:,} {place}") from None
            except (urllib3.exceptions.HTTPError, ConnectionError):
                raise DownloadError(f"cut after {have:,} {place}") from None
        if expected and have < expected:
            raise DownloadError(f"cut after {have:,} {place}")

    def _refuse(self, problem: str) -> NoReturn:
        """Remove a file that is not the expected one, and raise `UserError`."""
        remove(self._path)
        advice = f"nothing was kept: try again later, or {self.correction}"
        raise UserError(f"{self.origin}: {problem}; {advice}")

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.file.name}.partial"

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.is_file() else 0

    def _etag(self) -> str | None:
        """Return the ETag of the partial file. Remove a file of another or of unknown origin."""
        path = etag_file(self._path)
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        origin, _, etag = text.partition("\n")
        if origin != self.origin:
            remove(self._path)
            return None
        return etag or None


@contextmanager
def connection_errors(url: str, retries: RetryPolicy) -> Iterator[None]:
    """Raise `DownloadError` if a request in the block gets no response."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    try:
        yield
    except requests.ReadTimeout:
        raise DownloadError(f"no answer from {host} within {retries.read:g} s") from None
    except requests.ConnectionError as error:
        is_lasting = isinstance(error, requests.exceptions.SSLError)
        raise DownloadError(f"no connection to {host} ({reason(error)})", is_lasting) from None
    except requests.RequestException as error:  # such as a redirect to another protocol
        raise DownloadError(f"cannot be asked for ({reason(error)})", is_lasting=True) from None


def reason(error: BaseException) -> str:
    """Return the operating system's words for a failed connection, or else the library's.

    The query of an address is left out: it may hold a signature.
    """
    inner: BaseException | None = error
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
    words = getattr(error, "strerror", None) or str(error)
    return " ".join(re.sub(r"\?\S+", "?…", words).split())


def failure(response: requests.Response, server: str) -> DownloadError:
    """Return the error for a response that is not the file."""
    try:
        wait = urllib3.Retry().get_retry_after(response.raw) or 0
    except urllib3.exceptions.InvalidHeader:
        wait = 0
    status = response.status_code
    is_lasting = status not in (408, 429) and status < 500
    return DownloadError(f"{server} answers {status} {response.reason}".strip(), is_lasting, wait)


def etag_in(headers: Mapping[str, str]) -> str | None:
    """Return a value that the server changes with every change of the file, if it has one."""
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    # A file that was changed within this second may change again within it.
    modified = headers.get("Last-Modified")
    return modified if modified != headers.get("Date") else None


def start_and_total(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return the offset of a response's first byte and the size of the whole file, if told."""
    whole = f"bytes 0-0/{headers.get('Content-Length', '').strip()}"
    found = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d*)", headers.get("Content-Range", whole).strip())
    start, total = found.groups() if found else ("", "")
    return int(start) if start else None, int(total) if total else None

"""Getting a dataset's files: the user's own are only read, and no bad download stays."""

import hashlib
import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests

from builders import dataset_options, make_competition, refused, served, write_archive
from imagepipe import fetching
from imagepipe.fetching import fetch

CONTENT = b"the content of an archive\n" * 1000
FILES = ("train.7z", "test.7z", "trainLabels.csv", "sampleSubmission.csv")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path in ("/archive.zip", "/short.zip")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(CONTENT if self.path == "/archive.zip" else CONTENT[:500])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that has /archive.zip, and closes on /short.zip too early."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with served(Handler) as address:
        yield address


def downloaded(url: str | None, **file: Any) -> dict[str, Any]:
    return dataset_options("cifar10_tiny", files=[{"name": "archive.zip", "url": url, **file}])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_download_with_the_right_checksum_is_kept(
    tmp_path: Path, server: str, algorithm: str
) -> None:
    checksum = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"
    dataset = downloaded(f"{server}/archive.zip", checksum=checksum, bytes=len(CONTENT))
    fetch(dataset, None, tmp_path)
    assert (tmp_path / "archive.zip").read_bytes() == CONTENT
    expected = f"{hashlib.sha256(CONTENT).hexdigest()}  archive.zip\n"
    assert (tmp_path / "SHA256SUMS").read_text() == expected
    assert names_in(tmp_path) == ["SHA256SUMS", "archive.zip"]


@pytest.mark.parametrize(
    ("path", "file", "words"),
    [
        ("/archive.zip", {"checksum": f"md5:{'0' * 32}"}, ["md5", "0" * 32]),
        ("/archive.zip", {"checksum": f"sha256:{'0' * 64}"}, ["sha256", "0" * 64]),
        ("/archive.zip", {"bytes": 1234}, [f"{len(CONTENT):,}", "1,234"]),
        ("/missing.zip", {}, ["HTTPError", "raw_dir"]),
        ("/short.zip", {}, ["download failed", "raw_dir"]),
    ],
)
def test_bad_download_is_named_and_nothing_is_kept(
    tmp_path: Path, server: str, path: str, file: dict[str, Any], words: list[str]
) -> None:
    with refused(f"{server}{path}", *words):
        fetch(downloaded(f"{server}{path}", **file), None, tmp_path)
    assert names_in(tmp_path) == []


def test_refused_connection_is_named_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/archive.zip"
        with refused(url, "download failed", "raw_dir"):
            fetch(downloaded(url), None, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("url", [None, "archive.zip", "ftp://127.0.0.1/archive.zip"])
def test_file_without_a_usable_url_is_refused(tmp_path: Path, url: str | None) -> None:
    with refused("archive.zip", "raw_dir"):
        fetch(downloaded(url), None, tmp_path)


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, OSError])
def test_download_that_is_interrupted_leaves_nothing(
    tmp_path: Path,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    stopped_by: type[BaseException],
) -> None:
    def pieces(self: requests.Response, chunk_size: int) -> Iterator[bytes]:
        yield CONTENT[:100]
        raise stopped_by

    monkeypatch.setattr(requests.Response, "iter_content", pieces)
    with pytest.raises(stopped_by):
        fetch(downloaded(f"{server}/archive.zip"), None, tmp_path)
    assert names_in(tmp_path) == []


def test_failed_download_leaves_no_older_file_under_its_name(tmp_path: Path, server: str) -> None:
    (tmp_path / "archive.zip").write_text("of another time")
    with refused("missing.zip"):
        fetch(downloaded(f"{server}/missing.zip"), None, tmp_path)
    assert names_in(tmp_path) == []


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return what must not change in a user's folder: contents, times and modes by name."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("links", [True, False])
def test_users_own_files_are_used_and_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("links are not supported")

    if not links:
        monkeypatch.setattr(os, "symlink", refuse)
    own = tmp_path / "own"
    make_competition(own, train=4, test=3)
    (own / "notes.txt").write_text("mine")
    for number, path in enumerate(own.iterdir()):
        os.utime(path, (10**9 + number, 10**9 + number))
    before = state(own)
    for _ in range(2):  # a second time over what the first has made
        fetch(dataset_options("cifar10"), own, tmp_path / "raw")
    assert state(own) == before
    assert names_in(tmp_path / "raw") == sorted([*FILES, "SHA256SUMS"])
    for name in FILES:
        assert (tmp_path / "raw" / name).read_bytes() == before[name][0]
        assert (tmp_path / "raw" / name).is_symlink() is links


def test_links_hold_when_raw_dir_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_competition(tmp_path / "own", train=2, test=2)
    monkeypatch.chdir(tmp_path)
    fetch(dataset_options("cifar10"), Path("own"), Path("data/raw"))
    for name in FILES:
        assert Path("data/raw", name).read_bytes() == Path("own", name).read_bytes()


@pytest.mark.parametrize("by_link", [False, True])
def test_files_survive_when_raw_dir_is_the_folder_of_the_outputs(
    tmp_path: Path, by_link: bool
) -> None:
    """As when a user has put the archives where the workflow puts them."""
    folder = tmp_path / "data" / "cifar10" / "raw"
    make_competition(folder, train=2, test=2)
    before = state(folder)
    raw_dir = folder
    if by_link:
        raw_dir = tmp_path / "link"
        os.symlink(folder, raw_dir)
    try:
        with refused("raw_dir", str(folder)):
            fetch(dataset_options("cifar10"), raw_dir, folder)
    finally:
        assert state(folder) == before


def test_bundle_stands_for_the_files(tmp_path: Path) -> None:
    made, own = tmp_path / "made", tmp_path / "own"
    make_competition(made, train=4, test=3)
    members = {name: (made / name).read_bytes() for name in FILES}
    write_archive(own / "cifar-10.zip", members | {"readme.txt": b"not wanted"})
    before = state(own)
    fetch(dataset_options("cifar10"), own, tmp_path / "raw")
    assert state(own) == before
    assert names_in(tmp_path / "raw") == sorted([*FILES, "SHA256SUMS"])
    for name in FILES:
        assert (tmp_path / "raw" / name).read_bytes() == members[name]


def test_bundle_without_one_of_the_files_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "own" / "cifar-10.zip", dict.fromkeys(FILES[:3], b"x"))
    with refused("cifar-10.zip", "sampleSubmission.csv"):
        fetch(dataset_options("cifar10"), tmp_path / "own", tmp_path / "raw")


def test_missing_file_of_the_user_is_named(tmp_path: Path) -> None:
    make_competition(tmp_path / "own", train=2, test=2)
    (tmp_path / "own" / "test.7z").unlink()
    with refused(str(tmp_path / "own" / "test.7z"), "cifar-10.zip", "train.7z"):
        fetch(dataset_options("cifar10"), tmp_path / "own", tmp_path / "raw")


def test_raw_dir_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with refused("raw_dir", str(tmp_path / "nowhere")):
        fetch(dataset_options("cifar10"), tmp_path / "nowhere", tmp_path / "raw")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ({"checksum": f"md5:{'0' * 32}"}, ["own", "archive.zip", "md5"]),
        ({"bytes": 1234}, ["own", "archive.zip", "1,234"]),
        ({"checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}", "bytes": len(CONTENT)}, []),
    ],
)
def test_repacked_archive_of_the_user_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: dict[str, Any], expected: list[str]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "archive.zip").write_bytes(CONTENT)
    fetch(downloaded(None, **file), tmp_path / "own", tmp_path / "raw")
    assert (tmp_path / "raw" / "archive.zip").read_bytes() == CONTENT
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(expected)
    for word in expected:
        assert word in warnings[0].getMessage()


def test_generated_dataset_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample = fetching.write_sample
    monkeypatch.setattr(fetching, "write_sample", lambda folder: write_sample(folder, 10, 10))
    fetch(dataset_options("sample"), None, tmp_path)
    assert names_in(tmp_path) == sorted([*FILES, "testLabels.csv", "SHA256SUMS"])
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), ["cut short", "again"]),
        (lambda path: add_to_zip(path, "../outside.csv"), ["'../outside.csv'", "outside of"]),
        (lambda path: add_to_zip(path, "/outside.csv"), ["'/outside.csv'", "outside of"]),
    ],
    ids=["cut short", "parent folder", "absolute path"],
)
def test_a_bundle_is_not_trusted(
    tmp_path: Path, spoil: Callable[[Path], object], words: list[str]
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    bundle = write_archive(raw / "cifar-10.zip", dict.fromkeys(FILES, CONTENT))
    spoil(bundle)
    with refused("cifar-10.zip", *words):
        fetch(dataset_options("cifar10"), raw, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*.csv")) == []


def add_to_zip(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, CONTENT)

"""Files that are unpacked for other readers."""

import errno
import fcntl
import gzip
import os
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from builders import refused, write_archive
from imagepipe import files
from imagepipe.archives import locking, safety
from imagepipe.archives.locking import locked
from imagepipe.archives.reading import list_archive
from imagepipe.archives.unpacking import FOLDER, folder_for, join, open_inner, unpack, unpack_gzip

CONTENT = b"content"


def join_parts(raw: Path) -> tuple[Callable[[], Path], Path]:
    parts = [raw / "a.zip.001", raw / "a.zip.002"]
    parts[0].write_bytes(CONTENT[:3])
    parts[1].write_bytes(CONTENT[3:])
    return lambda: join(parts, "a.zip", raw), folder_for(parts[0], raw, len(CONTENT)) / "a.zip"


def unpack_table(raw: Path) -> tuple[Callable[[], Path], Path]:
    source = raw / "a.csv.gz"
    source.write_bytes(gzip.compress(CONTENT))
    return lambda: unpack_gzip(source, raw), folder_for(source, raw) / "a.csv"


@pytest.mark.parametrize("made", [join_parts, unpack_table])
def test_what_another_job_has_just_unpacked_is_not_written_again(
    tmp_path: Path, made: Callable[[Path], tuple[Callable[[], Path], Path]]
) -> None:
    work, target = made(tmp_path)
    target.parent.mkdir(parents=True)
    with ThreadPoolExecutor(1) as thread:
        with FileLock(target.with_name(".lock")):
            waiting = thread.submit(work)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            target.write_bytes(CONTENT)
            inode = target.stat().st_ino
        assert waiting.result(timeout=10) == target
    assert target.stat().st_ino == inode and target.read_bytes() == CONTENT


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_without_flock_a_file_is_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locking, "LONGEST_WAIT", 0)
    with (
        locked(tmp_path),
        ThreadPoolExecutor(1) as thread,
        refused(str(tmp_path), "another job", "remove"),
    ):
        thread.submit(locked(tmp_path).__enter__).result()
    with locked(tmp_path):
        pass


def test_another_error_of_the_lock_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locked(tmp_path):
        pass


@pytest.mark.parametrize("name", [f"{'n' * 246}.zip", f"{'é' * 120}.tar.gz", "a/" + "b" * 250])
def test_members_of_very_long_names_are_unpacked(tmp_path: Path, name: str) -> None:
    other = name.replace(name[5], "x", 1)
    write_archive(tmp_path / "a.zip", {name: CONTENT, other: b"other"})
    found = unpack(list_archive(tmp_path / "a.zip"), [name, other], tmp_path)
    assert {one: path.read_bytes() for one, path in found.items()} == {
        name: CONTENT,
        other: b"other",
    }
    assert all(path.name.endswith(name[-8:]) for path in found.values())


def test_archives_of_very_long_names_are_read(tmp_path: Path) -> None:
    inner = write_archive(tmp_path / "inner.zip", {"1.png": CONTENT}).read_bytes()
    middle = write_archive(tmp_path / "middle.zip", {f"{'i' * 240}.zip": inner}).read_bytes()
    raw = tmp_path / "raw"
    outer = write_archive(raw / f"{'o' * 240}.zip", {f"{'m' * 240}.zip": middle})
    ((_, listing),) = open_inner(list_archive(outer), [f"{'m' * 240}.zip"], raw)
    ((name, listing),) = open_inner(listing, [f"{'i' * 240}.zip"], raw)
    assert (name, list(listing.names)) == (f"{'i' * 240}.zip", ["1.png"])


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "HARMLESS_SIZE", 20_000)
    monkeypatch.setattr(safety, "LARGEST_RATIO", 1)


@pytest.mark.usefixtures("low_limit")
def test_archives_in_one_archive_count_together(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        for number in range(3):
            inner = write_archive(tmp_path / "inner.zip", {"t.csv": bytes(9_000)})
            outer.write(inner, f"{number}.zip")
    listing = list_archive(tmp_path / "outer.zip")
    inner_listings = [one for _, one in open_inner(listing, listing.names, tmp_path)]
    for one in inner_listings[:2]:
        unpack(one, ["t.csv"], tmp_path)
    unpack(inner_listings[0], ["t.csv"], tmp_path)  # it is there already
    with refused("2.zip", "times its size"):
        unpack(inner_listings[2], ["t.csv"], tmp_path)
    assert sum(1 for _ in (tmp_path / FOLDER).rglob("t.csv")) == 2


@pytest.mark.usefixtures("low_limit")
def test_gzip_files_in_one_archive_count_together(tmp_path: Path) -> None:
    members = {f"{number}.csv.gz": gzip.compress(bytes(9_000)) for number in range(3)}
    write_archive(tmp_path / "outer.zip", members)
    paths = unpack(list_archive(tmp_path / "outer.zip"), list(members), tmp_path)
    unpack_gzip(paths["0.csv.gz"], tmp_path)
    unpack_gzip(paths["1.csv.gz"], tmp_path)
    with refused("2.csv.gz", "times its size"):
        unpack_gzip(paths["2.csv.gz"], tmp_path)


def test_gzip_file_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(bytes(9_000)))
    usage = shutil.disk_usage(tmp_path)._replace(free=8_999)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    with refused("the disk has room for"):
        unpack_gzip(tmp_path / "a.csv.gz", tmp_path)


def test_many_small_parts_are_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "HARMLESS_SIZE", 0)
    inner = write_archive(tmp_path / "inner.zip", {"1.png": CONTENT}).read_bytes()
    content = write_archive(tmp_path / "whole.zip", {"inner.zip": inner}).read_bytes()
    parts = []
    for number, byte in enumerate(content):
        parts.append(tmp_path / f"a.zip.{number:03}")
        parts[-1].write_bytes(bytes([byte]))
    whole = list_archive(join(parts, "a.zip", tmp_path))
    ((_, listing),) = open_inner(whole, ["inner.zip"], tmp_path)
    assert list(listing.names) == ["1.png"]

"""Getting a dataset's files: the user's own are only read, and no bad download stays."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from builders import dataset_options, make_competition, refused, served, write_archive
from imagepipe.archives.unpacking import FOLDER as UNPACKED
from imagepipe.config.dataset import Source
from imagepipe.config.dataset_files import LINKS
from imagepipe.sources import fetching
from imagepipe.sources.downloading import RetryPolicy

CONTENT = b"the content of an archive\n" * 1000
OTHER = CONTENT[::-1]
FILES = ("train.7z", "test.7z", "trainLabels.csv", "sampleSubmission.csv")


def fetch(source: Source, raw_dir: Path | None, folder: Path) -> None:
    """Call `fetch` with places beside `folder` for what outlives it."""
    downloads, record = folder.parent / "downloads", folder.parent / "first_use.sha256"
    fetching.fetch(source, raw_dir, folder, downloads, record, RetryPolicy(tries=2, pause=0.01))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that has /archive.zip, from the folder "served"."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "archive.zip").write_bytes(CONTENT)
    with served(partial(Handler, directory=str(tmp_path / "served"))) as address:
        yield address


def downloaded(url: str | None, **file: Any) -> Source:
    return dataset_options("cifar10_tiny", files=[{"name": "archive.zip", "url": url, **file}])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_kept_with_its_hash(tmp_path: Path, server: str) -> None:
    checksum = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"
    dataset = downloaded(f"{server}/archive.zip", checksum=checksum, bytes=len(CONTENT))
    fetch(dataset, None, tmp_path / "raw")
    assert (tmp_path / "raw" / "archive.zip").read_bytes() == CONTENT
    expected = f"{hashlib.sha256(CONTENT).hexdigest()}  archive.zip\n"
    assert (tmp_path / "raw" / "SHA256SUMS").read_text() == expected
    assert names_in(tmp_path / "raw") == ["SHA256SUMS", "archive.zip"]
    assert names_in(tmp_path / "downloads") == ["lock"]
    assert not (tmp_path / "first_use.sha256").exists()  # as it has a checksum


@pytest.mark.parametrize(
    ("path", "file", "words"),
    [
        ("archive.zip", {"checksum": f"md5:{'0' * 32}"}, ["md5", "0" * 32, "nothing was kept"]),
        ("archive.zip", {"bytes": 1234}, [f"{len(CONTENT):,}", "1,234", "nothing was kept"]),
        ("missing.zip", {}, ["404", "raw_dir"]),
    ],
)
def test_a_bad_download_is_named_and_leaves_no_older_file(
    tmp_path: Path, server: str, path: str, file: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "archive.zip").write_text("of another time")
    with refused(f"{server}/{path}", *words):
        fetch(downloaded(f"{server}/{path}", **file), None, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == []
    assert names_in(tmp_path / "downloads") == ["lock"]


def test_a_download_without_checksum_is_compared_with_the_first(
    tmp_path: Path, server: str
) -> None:
    dataset = downloaded(f"{server}/archive.zip")
    for _ in range(2):
        fetch(dataset, None, tmp_path / "raw")
    record = tmp_path / "first_use.sha256"
    assert record.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  archive.zip\n"

    (tmp_path / "served" / "archive.zip").write_bytes(OTHER)
    with refused(str(record), "archive.zip", "nothing was kept", "remove its line"):
        fetch(dataset, None, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == []
    assert names_in(tmp_path / "downloads") == ["lock"]

    record.unlink()
    fetch(dataset, None, tmp_path / "raw")
    assert (tmp_path / "raw" / "archive.zip").read_bytes() == OTHER
    assert record.read_text() == f"{hashlib.sha256(OTHER).hexdigest()}  archive.zip\n"


def test_two_processes_do_not_download_into_one_folder(tmp_path: Path, server: str) -> None:
    (tmp_path / "downloads").mkdir()
    with (
        FileLock(tmp_path / "downloads" / "lock"),
        refused(str(tmp_path / "downloads"), "another process"),
    ):
        fetch(downloaded(f"{server}/archive.zip"), None, tmp_path / "raw")
    fetch(downloaded(f"{server}/archive.zip"), None, tmp_path / "raw")


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The .zip file that stands for what kagglehub downloads."""
    made = make_bundle(tmp_path / "kaggle.zip")

    def download_competition(competition: str, folder: Path, _: RetryPolicy) -> Path:
        bundle = folder / f"{competition}.zip"
        bundle.write_bytes(made.read_bytes())
        return bundle

    monkeypatch.setattr(fetching, "download_competition", download_competition)
    return made


def make_bundle(path: Path, **changes: bytes) -> Path:
    """Write a .zip file of the competition's files, each with its name for content."""
    members = {name: name.encode() for name in FILES} | {"readme.txt": b"not wanted"}
    return write_archive(path, members | changes)


def test_the_files_of_a_competition_come_out_of_one_bundle(tmp_path: Path, kaggle: Path) -> None:
    for _ in range(2):
        fetch(dataset_options("cifar10"), None, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == sorted([*FILES, "SHA256SUMS"])
    for name in FILES:
        assert (tmp_path / "raw" / name).read_bytes() == name.encode()
    assert names_in(tmp_path / "downloads") == ["lock"]
    record = (tmp_path / "first_use.sha256").read_text()
    assert record == (tmp_path / "raw" / "SHA256SUMS").read_text()


@pytest.mark.parametrize("name", ["train.7z", "sampleSubmission.csv"])
def test_a_competition_whose_files_have_changed_is_refused(
    tmp_path: Path, kaggle: Path, name: str
) -> None:
    fetch(dataset_options("cifar10"), None, tmp_path / "raw")
    make_bundle(kaggle, **{name: b"another"})
    with refused("first_use.sha256", name, "nothing was kept"):
        fetch(dataset_options("cifar10"), None, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == []
    assert names_in(tmp_path / "downloads") == ["lock"]


def test_a_refused_bundle_is_no_first_use(tmp_path: Path, kaggle: Path) -> None:
    files = [{"name": name} for name in FILES[:3]]
    wrong = {"name": FILES[3], "checksum": f"md5:{'0' * 32}"}
    with refused("competition cifar-10", FILES[3], "md5", "nothing was kept"):
        fetch(dataset_options("cifar10", files=[*files, wrong]), None, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == []
    assert names_in(tmp_path / "downloads") == ["lock"]
    assert not (tmp_path / "first_use.sha256").exists()


def test_a_damaged_bundle_comes_anew(tmp_path: Path, kaggle: Path) -> None:
    whole = kaggle.read_bytes()
    kaggle.write_bytes(whole[:-200])
    with refused("cifar-10.zip", "cut short"):
        fetch(dataset_options("cifar10"), None, tmp_path / "raw")
    assert names_in(tmp_path / "downloads") == ["lock"]


def test_a_bundle_stays_when_the_dataset_file_names_what_it_lacks(
    tmp_path: Path, kaggle: Path
) -> None:
    with refused("cifar-10.zip", "holds no labels.csv", "correct the name"):
        fetch(dataset_options("cifar10", files=[{"name": "labels.csv"}]), None, tmp_path / "raw")
    assert names_in(tmp_path / "downloads") == ["cifar-10.zip", "lock"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cifar-10.zip"], ["cifar-10.zip"]),
        (["cifar-10.zip", "trainLabels.csv"], ["cifar-10.zip", "trainLabels.csv"]),
        (["dog.zip", "trainLabels.csv"], ["dog.zip", "trainLabels.csv"]),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_a_bundle_may_itself_be_one_of_the_files(
    tmp_path: Path, kaggle: Path, names: list[str], expected: list[str], own: bool
) -> None:
    members = {"train/1.jpg": b"1", "test/2.jpg": b"2", "trainLabels.csv": b"id"}
    write_archive(kaggle, members | {"x/trainLabels.csv": b"deeper", "__MACOSX/x": b""})
    raw_dir = None
    if own:
        raw_dir = tmp_path / "own"
        raw_dir.mkdir()
        (raw_dir / "cifar-10.zip").write_bytes(kaggle.read_bytes())
    dataset = dataset_options("cifar10", files=[{"name": name} for name in names])
    for _ in range(2):
        fetch(dataset, raw_dir, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == sorted(["SHA256SUMS", *expected])
    assert (tmp_path / "raw" / names[0]).read_bytes() == kaggle.read_bytes()
    if len(names) > 1:
        assert (tmp_path / "raw/trainLabels.csv").read_bytes() == b"id"


def test_a_misspelled_archive_is_not_the_bundle(tmp_path: Path, kaggle: Path) -> None:
    write_archive(kaggle, {"train.zip": b"1", "test.zip": b"2"})
    dataset = dataset_options("cifar10", files=[{"name": "train.zip"}, {"name": "tset.zip"}])
    with refused("cifar-10.zip", "holds no tset.zip", "did you mean 'test.zip'"):
        fetch(dataset, None, tmp_path / "raw")


def test_bundle_with_two_files_of_one_name_is_refused(tmp_path: Path, kaggle: Path) -> None:
    write_archive(kaggle, {"a/labels.csv": b"1", "b/labels.csv": b"2"})
    with refused("cifar-10.zip", "'labels.csv'", "remove one"):
        fetch(dataset_options("cifar10", files=[{"name": "labels.csv"}]), None, tmp_path / "raw")


def folder_source(**changes: Any) -> Source:
    return dataset_options("cifar10", source="folder", files=[{"name": "labels.csv"}], **changes)


@pytest.mark.parametrize(
    ("train", "test", "links"),
    [
        ("train", "test", {"train": "train", "test": "test"}),
        ("jpeg/train", None, {"train": "jpeg/train"}),
        (".", "test", {"train": ".", "test": "test"}),
    ],
)
def test_own_folders_of_images_are_linked(
    tmp_path: Path, train: str, test: str | None, links: dict[str, str]
) -> None:
    own = tmp_path / "own"
    for name in ("train", "test", "jpeg/train"):
        (own / name).mkdir(parents=True)
    (own / "labels.csv").touch()
    source = folder_source(train_folder=train, test_folder=test)
    for _ in range(2):
        fetch(source, own, tmp_path / "raw")
    found = {path.name: path.resolve() for path in (tmp_path / "raw" / LINKS).iterdir()}
    assert found == {name: (own / target).resolve() for name, target in links.items()}
    (own / "test").rmdir() if test else (own / "jpeg/train").rmdir()
    split = "test" if test else "train"
    with refused(str(own), "is not a folder", "'jpeg'", f"{split}_folder"):
        fetch(source, own, tmp_path / "raw")


def test_other_images_in_own_folders_change_the_sums(tmp_path: Path) -> None:
    """Snakemake compares a small input by its content, if a call was stopped behind `fetch`."""
    own = tmp_path / "own"
    for name in ("train/1.png", "test/2.png", "labels.csv"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(b"1")
    found = []
    for content in (b"1", b"1", b"22"):
        if content != b"1":
            (own / "train/1.png").write_bytes(content)
        fetch(folder_source(), own, tmp_path / "raw")
        found.append((tmp_path / "raw/SHA256SUMS").read_text())
    assert found[0] == found[1] != found[2]


def test_what_was_unpacked_from_earlier_files_is_removed(tmp_path: Path) -> None:
    make_competition(tmp_path / "own", train=2, test=2)
    (tmp_path / "raw" / UNPACKED).mkdir(parents=True)
    (tmp_path / "raw" / UNPACKED / "x.zip").touch()
    fetch(dataset_options("cifar10"), tmp_path / "own", tmp_path / "raw")
    assert not (tmp_path / "raw" / UNPACKED).exists()


def test_a_competition_without_a_name_is_refused(tmp_path: Path) -> None:
    with refused("competition", "raw_dir"):
        fetch(dataset_options("cifar10", competition=None), None, tmp_path / "raw")


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

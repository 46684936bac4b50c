"""Which files of archives and folders are training and test images, and under which paths."""

import gzip
import io
import os
import shutil
import tarfile
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import py7zr
import pytest

from builders import png_bytes, refused, write_archive
from imagepipe.archives import chunk, safety
from imagepipe.config.dataset import Contents, PixelTables
from imagepipe.config.dataset_files import LINKS, state_of_images
from imagepipe.dataset import extraction, image_sources
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.image_sources import find_images
from imagepipe.dataset.manifests import read_manifest

Members = Mapping[str, bytes]
BOTH = {"train/1.png": b"1", "test/2.png": b"2"}


def contents_of(*names: str, **changes: Any) -> Contents:
    files = [{"name": name} for name in names]
    return Contents.model_validate({"source": "raw_dir", "files": files, **changes})


def paths(raw: Path, *names: str, **changes: Any) -> list[str]:
    """Return the paths of all images in some files."""
    found = find_images(contents_of(*names, **changes), raw)
    return sorted(path for one in found for path in one.paths)


def in_zip(tmp_path: Path, *members: str, name: str = "all.zip", **changes: Any) -> list[str]:
    """Return the paths of all images in a .zip archive with some members."""
    write_archive(tmp_path / name, {member: member.encode() for member in members})
    return paths(tmp_path, name, **changes)


def zipped(members: Members) -> bytes:
    """Return a .zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def packed(folder: Path, name: str, members: Members) -> bytes:
    """Return an archive of the kind that its name says."""
    return write_archive(folder / "packed" / name, members).read_bytes()


def test_images_of_all_endings_are_read(tmp_path: Path) -> None:
    names = ["9.png", "10.jpeg", "11.JPG", "1.tif", "2.TIFF", "3.bmp", "4.gif", "5.webp", "6.PNG"]
    members = [f"{split}/{name}" for split in ("train", "test") for name in names]
    others = ["train/1.txt", "train/1.npy", "train/png", "test/labels.csv", "test/a.jpg.bak"]
    assert in_zip(tmp_path, *members, *others) == sorted(members)


@pytest.mark.parametrize(
    "junk",
    [
        "__MACOSX/train/1.png",
        "__MACOSX/train/._1.png",
        "train/._1.png",
        "test/.ipynb_checkpoints/1-checkpoint.png",
        "test/@eaDir/2.png/SYNOPHOTO_THUMB_M.jpg",
        "train/.thumbnails/1.png",
        "train/cat/.hidden.png",
        ".git/train/1.png",
    ],
)
@pytest.mark.parametrize("in_folder", [False, True])
def test_junk_is_passed_over(tmp_path: Path, junk: str, in_folder: bool) -> None:
    members = [*BOTH, junk, "train/Thumbs.db", "train/.DS_Store", "test/desktop.ini"]
    if not in_folder:
        assert in_zip(tmp_path, *members) == sorted(BOTH)
        return
    for member in members:
        (tmp_path / "own" / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / member).write_bytes(b"x")
    assert folder_paths(tmp_path) == sorted(BOTH)


@pytest.mark.parametrize(
    ("train", "test", "members", "expected"),
    [
        (
            "jpeg/train",
            "jpeg/test",
            ["jpeg/train/a.jpg", "jpeg/test/b.jpg", "dicom/train/a.jpg", "train/c.jpg"],
            ["test/b.jpg", "train/a.jpg"],
        ),
        (
            "imgs/train",
            "imgs/test",
            ["data/imgs/train/c0/a.jpg", "data/imgs/test/b.jpg"],
            ["test/b.jpg", "train/c0/a.jpg"],
        ),
        (".", "test", ["cat/1.png", "test/3.png"], ["test/3.png", "train/cat/1.png"]),
        (
            ".",
            "test",
            ["1.png", "a/test/3.png", "x/train/2.png"],
            ["test/3.png", "train/1.png", "train/x/train/2.png"],
        ),
        ("images", None, ["images/a.png", "images/b.png", "c.png"], ["train/a.png", "train/b.png"]),
        (".", None, ["a.png", "b/c.png"], ["train/a.png", "train/b/c.png"]),
        ("./train/", "test", ["train/a.png", "test/b.png"], ["test/b.png", "train/a.png"]),
        (
            "images",
            "images/test",
            ["images/a.png", "images/test/b.png"],
            ["test/b.png", "train/a.png"],
        ),
        # A class with the name of a split's folder.
        (
            "train",
            "test",
            ["train/car/1.png", "train/train/2.png", "test/train/77.png"],
            ["test/train/77.png", "train/car/1.png", "train/train/2.png"],
        ),
        (
            "train",
            "test",
            ["train/test/1.png", "train/car/2.png", "test/3.png"],
            ["test/3.png", "train/car/2.png", "train/test/1.png"],
        ),
        # Another folder of the same name around all.
        ("train", "test", ["train/train/1.png", "test/test/2.png"], ["test/2.png", "train/1.png"]),
    ],
)
def test_outermost_folder_of_a_split_decides(
    tmp_path: Path, train: str, test: str | None, members: list[str], expected: list[str]
) -> None:
    assert in_zip(tmp_path, *members, train_folder=train, test_folder=test) == expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["1.png", "2.png"], ["train/1.png", "train/2.png"]),
        (["train/1.png", "train/2.png"], ["train/1.png", "train/2.png"]),
        (["car/1.png", "test/2.png"], ["train/car/1.png", "train/test/2.png"]),
        (["car/1.png", "train/2.png"], ["train/car/1.png", "train/train/2.png"]),
        (["train/car/1.png", "train/train/2.png"], ["train/car/1.png", "train/train/2.png"]),
        (["data/train/1.png"], ["train/1.png"]),
    ],
)
def test_name_of_an_archive_is_a_folder_around_its_files(
    tmp_path: Path, members: list[str], expected: list[str]
) -> None:
    write_archive(tmp_path / "test.zip", {"9.png": b"9"})
    write_archive(tmp_path / "train.zip", dict.fromkeys(members, b"x"))
    assert paths(tmp_path, "train.zip", "test.zip") == ["test/9.png", *expected]


def test_name_of_an_archive_with_both_folders_does_not_count(tmp_path: Path) -> None:
    assert in_zip(tmp_path, *BOTH, "other/3.png", name="train.zip") == sorted(BOTH)


def test_name_of_an_archive_of_the_other_split_does_not_count(tmp_path: Path) -> None:
    write_archive(tmp_path / "train.zip", {"train/1.png": b"1"})
    write_archive(tmp_path / "test.zip", {"train/2.png": b"2"})
    with refused("no image is in a folder 'test'", "test_folder"):
        paths(tmp_path, "train.zip", "test.zip")


def test_names_of_archives_are_classes_if_train_folder_is_all(tmp_path: Path) -> None:
    for name in ("cat", "dog", "test"):
        write_archive(tmp_path / f"{name}.zip", {f"{name}1.png": b"x"})
    found = paths(tmp_path, "cat.zip", "dog.zip", "test.zip", train_folder=".")
    assert found == ["test/test1.png", "train/cat/cat1.png", "train/dog/dog1.png"]


@pytest.mark.parametrize(
    ("members", "changes", "words"),
    [
        (["images/a/1.png"], {}, ["'train'", "'images', 'images/a'", "train_folder"]),
        (["train/1.png", "tests/2.png"], {}, ["'test'", "'tests'", "test_folder"]),
        (["train/1.dcm", "test/1.dcm"], {}, ["no image", ".dcm"]),
        (["train/1.png"], {"train_folder": "jpeg/train"}, ["'jpeg/train'", "'train'"]),
    ],
)
def test_folders_that_are_there_are_named(
    tmp_path: Path, members: list[str], changes: dict[str, Any], words: list[str]
) -> None:
    with refused(str(tmp_path), *words):
        in_zip(tmp_path, *members, **changes)


def test_ids_are_nfc(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    members = {f"train/{decomposed}.png": b"1", "test/ü/2.png": b"2"}
    write_archive(tmp_path / "all.tar.gz", members)
    extract(contents_of("all.tar.gz"), tmp_path, tmp_path / "out")
    assert [i.path for i in read_manifest(tmp_path / "out")] == ["train/café.png", "test/ü/2.png"]
    assert (tmp_path / "out/train/café.png").read_bytes() == b"1"


def test_two_names_that_look_the_same_are_refused(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    with refused("all.zip", "'train/é.png' is there twice"):
        in_zip(tmp_path, "train/é.png", f"train/{decomposed}.png")


# Archives in archives.


def test_archives_in_a_bundle_are_read(tmp_path: Path) -> None:
    bundle = {
        "train.zip": zipped({"1.png": png_bytes(1), "2.png": png_bytes(2)}),
        "test.zip": zipped({"test/3.png": png_bytes(3)}),
        "train.csv": b"id,label\n",
    }
    write_archive(tmp_path / "raw/dog.zip", bundle)
    contents = contents_of("dog.zip")
    manifests = []
    for layout in ("folders", "packed"):
        extract(contents, tmp_path / "raw", tmp_path / layout, layout)
        manifests.append((tmp_path / layout / "manifest.tsv").read_bytes())
    assert manifests[0] == manifests[1]
    images = [image.path for image in read_manifest(tmp_path / "packed")]
    assert images == ["train/1.png", "train/2.png", "test/3.png"]
    assert (tmp_path / "folders/train/2.png").read_bytes() == png_bytes(2)
    extract_tables(contents, tmp_path / "raw", {"train.csv": tmp_path / "train.csv"})
    assert (tmp_path / "train.csv").read_bytes() == b"id,label\n"


@pytest.mark.parametrize("kind", ["tar.7z", "zip", "tar.gz", "tgz", "txz", "tbz2", "tar"])
def test_archives_of_all_kinds_are_read_in_archives(tmp_path: Path, kind: str) -> None:
    if kind == "tar.7z":
        tar = packed(tmp_path, "train-jpg.tar", {"train-jpg/1.jpg": b"1"})
        content = packed(tmp_path, "a.7z", {"train-jpg.tar": tar})
    else:
        suffix = {"tgz": "tar.gz", "txz": "tar.xz", "tbz2": "tar.bz2"}.get(kind, kind)
        content = packed(tmp_path, f"a.{suffix}", {"train-jpg/1.jpg": b"1"})
    members = {f"train-jpg.{kind}": content, "test/2.jpg": b"2"}
    for outer in ("all.zip", "all.7z", "all.tar.gz"):
        write_archive(tmp_path / "raw" / outer, members)
        found = paths(tmp_path / "raw", outer, train_folder="train-jpg")
        assert found == ["test/2.jpg", "train/1.jpg"]


def test_four_levels_are_not_opened(tmp_path: Path) -> None:
    content = zipped(BOTH)
    for _ in range(2):
        content = zipped({"inner.zip": content})
    write_archive(tmp_path / "raw/three.zip", {"inner.zip": zipped({"inner.zip": zipped(BOTH)})})
    assert paths(tmp_path / "raw", "three.zip") == sorted(BOTH)
    write_archive(tmp_path / "raw/four.zip", {"inner.zip": content})
    with refused("raw", "no image"):
        paths(tmp_path / "raw", "four.zip")


def test_only_archives_that_can_hold_images_are_unpacked(tmp_path: Path) -> None:
    bundle = {
        "train.zip": zipped({"1.png": b"1"}),
        "test.zip": zipped({"2.png": b"2"}),
        "train_tiff.zip": b"not even an archive",
        "sample_submission.csv.zip": b"nor is this",
        "__MACOSX/._train.zip": b"nor this",
    }
    write_archive(tmp_path / "raw/all.zip", bundle)
    assert paths(tmp_path / "raw", "all.zip") == sorted(BOTH)
    (unpacked,) = (tmp_path / "raw/.unpacked").iterdir()
    assert sorted(path.name for path in unpacked.glob("[!.]*")) == ["test.zip", "train.zip"]


def test_inner_archive_is_unpacked_once_and_again_if_it_changes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_archive(raw / "all.zip", {"train.zip": zipped({"1.png": b"1"}), "test/2.png": b"2"})
    assert paths(raw, "all.zip") == sorted(BOTH)
    (inner,) = raw.rglob("train.zip")
    before = inner.stat().st_mtime_ns
    assert paths(raw, "all.zip") == sorted(BOTH)
    assert inner.stat().st_mtime_ns == before
    write_archive(raw / "all.zip", {"train.zip": zipped({"33.png": b"1"}), "test/2.png": b"2"})
    assert paths(raw, "all.zip") == ["test/2.png", "train/33.png"]


def test_large_inner_archives_and_unwanted_files_have_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "LARGEST_FILE", 2_000)
    monkeypatch.setattr(image_sources, "LARGEST_IMAGE", 2_000)
    inner = {f"{n}.png": os.urandom(1_500) for n in range(3)}
    members = {
        "train.zip": zipped(inner),
        "test/2.png": b"2",
        "train.tfrecord": os.urandom(5_000),
        "train/big.tfrec": os.urandom(5_000),
    }
    for outer in ("all.zip", "all.7z", "all.tar.gz"):
        write_archive(tmp_path / "raw" / outer, members)
        assert len(paths(tmp_path / "raw", outer)) == 4
    with refused("all.zip", "'big.png'", "5,000 bytes", "it is no image"):
        in_zip_with(tmp_path, {"train/big.png": os.urandom(5_000), "test/1.png": b"1"})


def in_zip_with(tmp_path: Path, members: Members) -> list[str]:
    write_archive(tmp_path / "all.zip", members)
    return paths(tmp_path, "all.zip")


def test_inner_archive_that_unpacks_to_far_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "HARMLESS_SIZE", 10_000)
    bomb = packed(tmp_path, "a.zip", {"train/1.png": bytes(20_000_000), "test/1.png": b"1"})
    for members in ({"train/1.png": b"1", "b.zip": bomb}, {"c.zip": zipped({"b.zip": bomb})}):
        write_archive(tmp_path / "raw/all.zip", members)
        with refused(".zip", "more than 200 times its size"):
            paths(tmp_path / "raw", "all.zip")


def test_damaged_inner_archive_is_named(tmp_path: Path) -> None:
    inner = zipped({"1.png": b"1"})[:-10]
    write_archive(tmp_path / "raw/all.zip", {"train.zip": inner, "test/1.png": b"1"})
    with refused("train.zip", "damaged"):
        paths(tmp_path / "raw", "all.zip")


@pytest.mark.parametrize("kind", ["zip", "7z", "tar.gz"])
@pytest.mark.parametrize("in_bundle", [False, True])
def test_parts_are_joined(tmp_path: Path, kind: str, in_bundle: bool) -> None:
    content = packed(tmp_path, f"all.{kind}", {name: os.urandom(500) for name in BOTH})
    cuts = [content[:400], content[400:700], content[700:]]
    parts = {f"all.{kind}.{n:03}": some for n, some in enumerate(cuts, start=1)}
    raw = tmp_path / "raw"
    raw.mkdir()
    names = list(parts)
    if in_bundle:
        write_archive(raw / "bundle.zip", parts)
        names = ["bundle.zip"]
    else:
        for name, some in parts.items():
            (raw / name).write_bytes(some)
    assert paths(raw, *names) == sorted(BOTH)
    if not in_bundle:
        with refused(f"part 2 of all.{kind} is missing", f"all.{kind}.002"):
            paths(raw, names[0], names[2])
        with refused("damaged"):  # the last one is missing
            paths(raw, *names[:2])


def test_split_zip_is_explained(tmp_path: Path) -> None:
    (tmp_path / "all.z01").write_bytes(b"x")
    content = bytearray(zipped(BOTH))
    content[content.rindex(b"PK\5\6") + 4] = 1  # the number of this part
    (tmp_path / "all.zip").write_bytes(content)
    for names in (["all.zip"], ["all.z01", "all.zip"]):
        with refused("split", "zip -s 0 all.zip --out all-whole.zip"):
            paths(tmp_path, *names)


@pytest.mark.parametrize("kind", ["zip", "tar", "7z"])
def test_empty_class_folder_is_named(tmp_path: Path, kind: str) -> None:
    """Only where folders are the labels."""
    folder = tmp_path / "all"
    for name in ("train/cat/1.png", "train/dog/2.png", "test/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "train/bird").mkdir()
    (folder / "train/.ipynb_checkpoints").mkdir()
    if kind == "7z":
        with py7zr.SevenZipFile(tmp_path / "all.7z", "w") as archive:
            archive.writeall(folder, "all")
    else:
        shutil.make_archive(str(folder), kind, tmp_path, "all")
    assert len(paths(tmp_path, f"all.{kind}")) == 3
    with refused("the class folder 'bird' holds no image", "remove it"):
        paths(tmp_path, f"all.{kind}", class_folders=True)


# A user's own folder.


def folder_paths(tmp_path: Path, **changes: Any) -> list[str]:
    """Return the paths of the images in the user's folder tmp_path/own."""
    contents = contents_of("labels.csv", source="folder", **changes)
    links = tmp_path / "raw" / LINKS
    links.mkdir(parents=True, exist_ok=True)
    for split, name in (("train", contents.train_folder), ("test", contents.test_folder)):
        (links / split).unlink(missing_ok=True)
        if name is not None:
            (links / split).symlink_to(tmp_path / "own" / name)
    found = find_images(contents, tmp_path / "raw")
    for one in found:
        list(one.chunk.read())
    return sorted(path for one in found for path in one.paths)


def own_files(tmp_path: Path, names: Sequence[str]) -> Path:
    for name in names:
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(name.encode())
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ("train", "test", ["test/b.png", "train/cat/a.png", "train/test/x.png"]),
        ("train", None, ["train/cat/a.png", "train/test/x.png"]),
        ("train/cat", "test", ["test/b.png", "train/a.png"]),
        (
            ".",
            "test",
            ["test/b.png", "train/c.png", "train/train/cat/a.png", "train/train/test/x.png"],
        ),
    ],
)
def test_folders_of_images_may_be_paths(
    tmp_path: Path, train: str, test: str | None, expected: list[str]
) -> None:
    own_files(tmp_path, ["train/cat/a.png", "train/test/x.png", "test/b.png", "c.png"])
    assert folder_paths(tmp_path, train_folder=train, test_folder=test) == expected


@pytest.mark.parametrize("train", ["train", "."])
def test_empty_class_folder_of_ones_own_is_named(tmp_path: Path, train: str) -> None:
    start = "" if train == "." else f"{train}/"
    own = own_files(tmp_path, [f"{start}cat/1.png", f"{start}dog/2.png", "test/3.png"])
    assert len(folder_paths(tmp_path, train_folder=train, class_folders=True)) == 3
    (own / start / "bird").mkdir()
    with refused("the class folder 'bird' holds no image"):
        folder_paths(tmp_path, train_folder=train, class_folders=True)


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    own = own_files(tmp_path, [*BOTH])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/3.png").write_bytes(b"3")
    (own / "test/more").symlink_to(tmp_path / "elsewhere")
    assert folder_paths(tmp_path) == ["test/2.png", "test/more/3.png", "train/1.png"]
    source = contents_of("labels.csv", source="folder")
    before = state_of_images(own, source)  # type: ignore[arg-type]
    (tmp_path / "elsewhere/.DS_Store").write_bytes(b"junk")
    assert state_of_images(own, source) == before  # type: ignore[arg-type]
    (tmp_path / "elsewhere/4.png").write_bytes(b"4")
    assert state_of_images(own, source) != before  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "word"), [("..", "folder above"), ("nowhere", "not there")], ids=["loop", "dangling"]
)
def test_link_that_cannot_be_followed_is_named(tmp_path: Path, target: str, word: str) -> None:
    own = own_files(tmp_path, [*BOTH])
    (own / "test/more").symlink_to(target)
    with refused("test/more", word):
        folder_paths(tmp_path)
    source = contents_of("labels.csv", source="folder")
    assert state_of_images(own, source)  # type: ignore[arg-type]


def test_folder_that_is_not_on_this_machine_is_named(tmp_path: Path) -> None:
    own_files(tmp_path, ["train/1.png"])
    with refused(str(tmp_path / "own/test"), "not on this machine"):
        folder_paths(tmp_path)


def test_names_of_files_in_nfd_are_nfc(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    own_files(tmp_path, [f"train/{decomposed}.png", "test/1.png"])
    assert folder_paths(tmp_path) == ["test/1.png", "train/café.png"]


# Tables.


def tables(raw: Path, out: Path, contents: Contents, *names: str) -> list[bytes]:
    extract_tables(contents, raw, {name: out / name for name in names})
    return [(out / name).read_bytes() for name in names]


TABLE = b"id,label\n1,cat\n"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("train.csv.zip", zipped({"__MACOSX/._train.csv": b"x", "train.csv": TABLE})),
        ("train.csv.gz", gzip.compress(TABLE, mtime=0)),
        ("train.csv", TABLE),
    ],
)
@pytest.mark.parametrize("in_bundle", [False, True])
@pytest.mark.parametrize("wanted", ["train.csv", "file"])
def test_table_may_be_compressed(
    tmp_path: Path, file: str, content: bytes, in_bundle: bool, wanted: str
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / file).write_bytes(content)
    if in_bundle:
        (raw / file).unlink()
        write_archive(raw / "all.zip", BOTH | {file: content})
    contents = contents_of("all.zip" if in_bundle else file)
    name = file if wanted == "file" else wanted
    assert tables(raw, tmp_path / "out", contents, name) == [TABLE]


def test_table_of_the_outermost_folder_is_taken(tmp_path: Path) -> None:
    members = {"a/train.csv": b"1", "train.csv": TABLE, "x.zip": zipped({"train.csv": b"2"})}
    write_archive(tmp_path / "raw/all.zip", members)
    assert tables(tmp_path / "raw", tmp_path, contents_of("all.zip"), "train.csv") == [TABLE]
    write_archive(tmp_path / "raw/all.zip", {"a/train.csv": b"1", "b/train.csv": b"2"})
    with refused("all.zip", "'train.csv'", "'a/train.csv' and 'b/train.csv'", "remove one"):
        tables(tmp_path / "raw", tmp_path, contents_of("all.zip"), "train.csv")


def test_tables_and_json_are_found_in_inner_archives(tmp_path: Path) -> None:
    inner = zipped({"images/1.png": b"1", "annotations/train.json": b"{}"})
    write_archive(tmp_path / "raw/all.zip", {"data.zip": inner, "train.csv": TABLE})
    found = tables(tmp_path / "raw", tmp_path, contents_of("all.zip"), "train.json", "train.csv")
    assert found == [b"{}", TABLE]


@pytest.mark.parametrize("name", ["Train.csv", "trian.csv", "train_labels.csv"])
def test_missing_table_names_near_ones(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / "raw/all.zip", BOTH | {"train.csv": TABLE, "x.csv": b""})
    with refused(f"holds no {name}", "did you mean 'train.csv'"):
        tables(tmp_path / "raw", tmp_path, contents_of("all.zip"), name)


@pytest.mark.parametrize(
    ("name", "problem"), [("more.zip", "damaged"), ("backup.tar.2024", "part 1 of backup.tar")]
)
def test_missing_table_is_named_and_not_only_an_inner_archive(
    tmp_path: Path, name: str, problem: str
) -> None:
    inner = {name: zipped({"1.png": b"1"})[:-10], "tables.zip": zipped({"sample.csv": TABLE})}
    write_archive(tmp_path / "raw/all.zip", BOTH | inner)
    contents = contents_of("all.zip")
    assert tables(tmp_path / "raw", tmp_path / "out", contents, "sample.csv") == [TABLE]
    with refused("holds no train.csv", f"(unreadable: {tmp_path}", problem):
        tables(tmp_path / "raw", tmp_path / "out", contents, "train.csv")
    # The one that should hold it is not passed over.
    write_archive(tmp_path / "raw/all.zip", {"train.csv.zip": inner[name], **inner})
    if name.endswith(".zip"):
        with refused("train.csv.zip", "damaged"):
            tables(tmp_path / "raw", tmp_path / "out", contents, "train.csv")


@pytest.mark.parametrize("where", ["beside", "inside", "compressed"])
def test_pixel_tables_are_found_like_others(tmp_path: Path, where: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    header = "label," + ",".join(f"pixel{n}" for n in range(4))
    files = {
        "train.csv": f"{header}\n1,0,1,2,3\n0,255,0,0,7\n".encode(),
        "test.csv": b"pixel0,pixel1,pixel2,pixel3\n9,8,7,6\n",
    }
    names = list(files)
    if where == "beside":
        for name, content in files.items():
            (raw / name).write_bytes(content)
    elif where == "inside":
        names = [write_archive(raw / "digits.zip", files).name]
    else:
        members = {f"{name}.zip": zipped({name: content}) for name, content in files.items()}
        names = [write_archive(raw / "digits.zip", members).name]
    pixels = PixelTables(train="train.csv", test="test.csv")
    contents = contents_of(*names, archive_format="pixels", pixels=pixels.model_dump())
    extract(contents, raw, tmp_path / "out")
    images = [image.path for image in read_manifest(tmp_path / "out")]
    assert images == ["train/1.png", "train/2.png", "test/1.png"]
    assert (tmp_path / "out/test/1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "7z", "folder"])
def test_several_processes_give_the_same_files(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "FEWEST_PER_CHUNK", 3)
    monkeypatch.setattr(extraction, "FILES_PER_PROCESS", 2)
    members = {f"train/{n % 3}/{n}.png": png_bytes(n) for n in range(8)} | {"test/1.png": b"1"}
    if kind == "folder":
        own = own_files(tmp_path, [*members])
        contents = contents_of("labels.csv", source="folder")
        for name, content in members.items():
            (own / name).write_bytes(content)
        folder_paths(tmp_path)  # makes the links
    else:
        write_archive(tmp_path / f"raw/all.{kind}", members)
        contents = contents_of(f"all.{kind}")
    for layout in ("folders", "packed"):
        extract(contents, tmp_path / "raw", tmp_path / layout, layout, workers=2)
    for name, content in members.items():
        assert (tmp_path / "folders" / name).read_bytes() == content
    manifests = [
        (tmp_path / layout / "manifest.tsv").read_bytes() for layout in ("folders", "packed")
    ]
    assert manifests[0] == manifests[1]
    assert len(read_manifest(tmp_path / "packed")) == 9


def test_names_that_differ_in_case_are_refused_only_where_files_are_written(
    tmp_path: Path,
) -> None:
    members = {"train/aB.png": b"1", "train/Ab.png": b"2", "test/1.png": b"3"}
    write_archive(tmp_path / "raw/all.zip", members)
    contents = contents_of("all.zip")
    with refused("all.zip", "two train images, 'aB.png' and 'Ab.png'", "layout=packed"):
        extract(contents, tmp_path / "raw", tmp_path / "folders")
    extract(contents, tmp_path / "raw", tmp_path / "listed", "packed")
    assert {image.id for image in read_manifest(tmp_path / "listed")} == {"aB", "Ab", "1"}


def test_link_that_is_no_image_is_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as file:
        link = tarfile.TarInfo("README")
        link.type, link.linkname = tarfile.SYMTYPE, "docs/README"
        file.addfile(link)
        for name in BOTH:
            file.addfile(tarfile.TarInfo(name))
    assert paths(tmp_path, "all.tar") == sorted(BOTH)

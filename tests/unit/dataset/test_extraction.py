"""From archives, however they are laid out, to flat folders of images and a list of them."""

import zipfile
import zlib
from pathlib import Path

import pytest

from builders import (
    SCATTERED_IDS,
    dataset_options,
    make_competition,
    make_tiny_zip,
    png_bytes,
    refused,
    write_archive,
)
from imagepipe.config.dataset import Contents, Dataset
from imagepipe.config.dataset_files import table_names
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.manifests import Image, read_manifest


def extracted(raw: Path, dataset: Dataset, folder: Path) -> list[str]:
    """Extract, and return the names of all files below `folder`."""
    tables = {name: folder / name for name in table_names(dataset)}
    contents = dataset.part(Contents)
    extract(contents, raw, folder)
    extract_tables(contents, raw, tables)
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def one_archive(name: str, **changes: object) -> Dataset:
    """Return a dataset of one archive and a labels file."""
    files = [{"name": name}, {"name": "trainLabels.csv"}]
    return dataset_options("cifar10_tiny", files=files, **changes)


def write_one_archive(raw: Path, name: str, members: dict[str, bytes]) -> None:
    write_archive(raw / name, members)
    (raw / "trainLabels.csv").write_text("id,label\n1,cat\n")


@pytest.mark.parametrize(
    "layout",
    ["{split}/{id}.png", "{split}/{split}/{id}.png", "{id}.png", "a/b/{id}.png", "{id}.PNG"],
)
def test_images_are_found_in_every_layout_of_the_archives(tmp_path: Path, layout: str) -> None:
    made = make_competition(tmp_path / "raw", train=5, test=3, layout=layout)
    found = extracted(tmp_path / "raw", dataset_options("cifar10"), tmp_path / "out")
    # The folders below that of the split are kept.
    below, ending = "a/b/" if layout.startswith("a/") else "", layout[-3:]
    images = [f"train/{below}{i}.{ending}" for i in made.label_of]
    images += [f"test/{below}{i}.{ending}" for i in made.test_ids]
    assert found == sorted([*images, "manifest.tsv", "sampleSubmission.csv", "trainLabels.csv"])
    assert (tmp_path / f"out/train/{below}3.{ending}").read_bytes() == png_bytes(3)
    assert (tmp_path / f"out/test/{below}3.{ending}").read_bytes() == png_bytes(10**6 + 3)
    for table in ("trainLabels.csv", "sampleSubmission.csv"):
        assert (tmp_path / "out" / table).read_bytes() == (tmp_path / "raw" / table).read_bytes()


def test_tables_and_both_splits_are_found_inside_one_archive(tmp_path: Path) -> None:
    made = make_tiny_zip(tmp_path / "raw", train=4)
    found = extracted(tmp_path / "raw", dataset_options("cifar10_tiny"), tmp_path / "out")
    images = [f"train/{i}.png" for i in made.label_of] + [f"test/{i}.png" for i in SCATTERED_IDS]
    assert found == sorted([*images, "manifest.tsv", "trainLabels.csv"])
    table = (tmp_path / "out" / "trainLabels.csv").read_text()
    assert table == "id,label\n1,airplane\n2,automobile\n3,bird\n4,cat\n"


def test_manifest_lists_the_images_in_numeric_order_with_size_and_checksum(tmp_path: Path) -> None:
    make_tiny_zip(tmp_path / "raw", train=11)
    extracted(tmp_path / "raw", dataset_options("cifar10_tiny"), tmp_path / "out")
    header, *rows = (tmp_path / "out" / "manifest.tsv").read_text().splitlines()
    assert header == "path\tbytes\tcrc32\tnumber"
    contents = {f"train/{number}.png": png_bytes(number) for number in range(1, 12)}
    contents |= {f"test/{i}.png": png_bytes(10**6 + int(i)) for i in SCATTERED_IDS}
    with zipfile.ZipFile(tmp_path / "raw/kaggle_cifar10_tiny.zip") as archive:
        members = [name.partition("/")[2] for name in archive.namelist() if name.endswith(".png")]
    assert rows == [
        f"{path}\t{len(content)}\t{zlib.crc32(content):08x}\t{members.index(path)}"
        for path, content in contents.items()
    ]
    images = read_manifest(tmp_path / "out")
    assert [image.id for image in images if image.is_test] == [*SCATTERED_IDS]
    path, content = "train/10.png", png_bytes(10)
    ten = Image("10", path, len(content), zlib.crc32(content), members.index(path))
    assert images[9] == ten


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_what_is_no_image_is_left_in_the_archive(tmp_path: Path, kind: str) -> None:
    other = dict.fromkeys(
        ["train/._1.png", "__MACOSX/train/._1.png", "train/.DS_Store", "readme.txt", "9.png"], b"x"
    )
    images = {"train/1.png": png_bytes(1), "test/1.png": png_bytes(2)}
    write_one_archive(tmp_path / "raw", f"all.{kind}", other | images)
    found = extracted(tmp_path / "raw", one_archive(f"all.{kind}"), tmp_path / "out")
    assert found == ["manifest.tsv", "test/1.png", "train/1.png", "trainLabels.csv"]


def test_folders_are_those_of_the_dataset_file(tmp_path: Path) -> None:
    members = {"learn/a.jpg": b"1", "exam/b.jpg": b"2", "train/c.png": b"3"}
    write_one_archive(tmp_path / "raw", "x.zip", members)
    dataset = one_archive("x.zip", train_folder="learn", test_folder="exam")
    found = extracted(tmp_path / "raw", dataset, tmp_path / "out")
    assert found == ["manifest.tsv", "test/b.jpg", "train/a.jpg", "trainLabels.csv"]


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
@pytest.mark.parametrize(
    ("first", "second"), [("train/1.png", "x/train/1.png"), ("train/a.png", "x/train/A.PNG")]
)
def test_two_images_of_one_name_in_a_split_are_refused(
    tmp_path: Path, kind: str, first: str, second: str
) -> None:
    members = {first: b"1", second: b"2", "test/1.png": b"3"}
    write_one_archive(tmp_path / "raw", f"all.{kind}", members)
    with refused("two train images", Path(second).name, f"all.{kind}"):
        extracted(tmp_path / "raw", one_archive(f"all.{kind}"), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["7z", "zip"])
def test_archive_with_the_same_member_twice_is_refused(tmp_path: Path, kind: str) -> None:
    write_one_archive(tmp_path / "raw", f"all.{kind}", {"train/1.png": b"1", "test/1.png": b"2"})
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "raw/all.zip", "a") as archive:
            archive.writestr("train/1.png", b"3")
    else:
        twice = TwoOfOneName({"test/1.png": b"2"})
        write_archive(tmp_path / "raw/all.7z", twice)
    with refused(f"all.{kind}", "1.png", "remove one"):
        extracted(tmp_path / "raw", one_archive(f"all.{kind}"), tmp_path / "out")


class TwoOfOneName(dict):
    """Members of an archive, of which two have one name."""

    def items(self):  # type: ignore[no-untyped-def,override]
        return [*super().items(), ("train/1.png", b"1"), ("train/1.png", b"3")]


@pytest.mark.parametrize(
    ("members", "changes", "words"),
    [
        ({"train/1.png": b"1"}, {}, ["'test'", "test_folder"]),
        ({"test/1.png": b"1"}, {}, ["'train'", "train_folder"]),
        ({"train/1.dcm": b"1", "test/1.dcm": b"1"}, {}, ["no image", ".dcm"]),
        (
            {"train/1.png": b"1", "test/1.png": b"1"},
            {"sample_submission": "sample.csv"},
            ["sample.csv"],
        ),
    ],
)
def test_split_or_table_that_is_nowhere_is_named(
    tmp_path: Path, members: dict[str, bytes], changes: dict[str, object], words: list[str]
) -> None:
    write_one_archive(tmp_path / "raw", "all.zip", members)
    with refused(str(tmp_path / "raw"), *words):
        extracted(tmp_path / "raw", one_archive("all.zip", **changes), tmp_path / "out")


def test_damaged_archive_among_the_files_is_named(tmp_path: Path) -> None:
    make_competition(tmp_path / "raw", train=3, test=3)
    damaged = tmp_path / "raw" / "test.7z"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    with refused(str(damaged), "cut short"):
        extracted(tmp_path / "raw", dataset_options("cifar10"), tmp_path / "out")

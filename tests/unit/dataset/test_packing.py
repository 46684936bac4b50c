"""The packed arrays: every image at its row, from the tree as from the archives."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import py7zr
import pytest

from builders import (
    SCRIPTS,
    dataset_options,
    label_of,
    make_competition,
    make_extracted,
    make_tiny_zip,
    make_toronto,
    pixels,
    png_bytes,
    refused,
    write_archive,
    write_csv,
)
from imagepipe.config.dataset_files import table_names
from imagepipe.dataset import array_writing, extraction, packing
from imagepipe.dataset.array_writing import Options
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.packed_images import read_packed
from imagepipe.dataset.packing import pack, pack_archives

LABELS = {str(number): label_of(number) for number in range(1, 13)}
TEST_IDS = ("3", "10", "200")
FILES = ("labelled.npy", "labelled.csv", "test.npy", "test.csv", "decoded.json")
OPTIONS = Options(image_size=32)


@pytest.fixture
def extracted(tmp_path: Path) -> Path:
    make_extracted(tmp_path / "extracted", LABELS, TEST_IDS)
    return tmp_path / "extracted"


def pack_into(extracted: Path, folder: Path, options: Options = OPTIONS) -> None:
    pack(extracted, extracted / "trainLabels.csv", folder, options)


@pytest.mark.parametrize("images_per_task", [1000, 5])
def test_row_of_the_array_is_the_image_of_the_same_row_of_the_table(
    extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images_per_task: int
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_TASK", images_per_task)
    pack_into(extracted, tmp_path / "packed", OPTIONS)
    for name, ids, first in (("labelled", list(LABELS), 0), ("test", list(TEST_IDS), 10**6)):
        read = read_packed(tmp_path / f"packed/{name}.npy", tmp_path / f"packed/{name}.csv")
        assert read.ids == ids
        assert read.images.dtype == np.uint8
        assert read.images.shape == (len(ids), 32, 32, 3)
        for image, image_id in zip(read.images, ids, strict=True):
            assert np.array_equal(image, pixels(first + int(image_id)))
    lines = (tmp_path / "packed/labelled.csv").read_text().splitlines()
    assert lines[:2] == ["row,id,label", "0,1,airplane"]
    assert (tmp_path / "packed/test.csv").read_text().splitlines()[1] == "0,3,unknown"


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setattr(packing, "IMAGES_PER_TASK", 5)
    monkeypatch.setattr(array_writing, "IMAGES_PER_PROCESS", 1)
    monkeypatch.setattr(extraction, "FILES_PER_PROCESS", 1)
    return Options(image_size=32, workers=2)


def test_two_processes_write_the_same_as_one(
    extracted: Path, tmp_path: Path, two_processes: Options
) -> None:
    pack_into(extracted, tmp_path / "1", OPTIONS)
    pack_into(extracted, tmp_path / "2", two_processes)
    for name in FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_image_is_named_in_one_process_or_two(
    extracted: Path, tmp_path: Path, two_processes: Options, workers: int
) -> None:
    image = extracted / "train/5.png"
    image.write_bytes(b"x" * image.stat().st_size)
    with refused(str(image), "readable"):
        pack_into(extracted, tmp_path / "packed", two_processes if workers == 2 else OPTIONS)
    assert not list((tmp_path / "packed").iterdir())


@pytest.mark.parametrize("change", [b"short", b"", b"x" * 10_000, None])
def test_image_that_has_changed_or_is_gone_is_named(
    extracted: Path, tmp_path: Path, change: bytes | None
) -> None:
    image = extracted / "train/5.png"
    image.unlink()
    if change is not None:
        image.write_bytes(change)
    with refused(str(image), "is gone" if change is None else "bytes", "--forcerun extract"):
        pack_into(extracted, tmp_path / "packed", OPTIONS)


def spoil(extracted: Path, *paths: str) -> None:
    for path in paths:
        (extracted / path).write_bytes(b"x" * (extracted / path).stat().st_size)


def test_bad_training_images_are_dropped_and_named_if_asked_for(
    extracted: Path, tmp_path: Path
) -> None:
    spoil(extracted, "train/5.png", "train/1.png", "train/3.png")
    with refused("1.png", "(2 more are bad, too)"):
        pack_into(extracted, tmp_path / "packed", OPTIONS)
    pack_into(extracted, tmp_path / "packed", Options(32, "drop"))
    read = read_packed(tmp_path / "packed/labelled.npy", tmp_path / "packed/labelled.csv")
    kept = [image_id for image_id in LABELS if image_id not in ("1", "3", "5")]
    assert read.ids == kept
    for image, image_id in zip(read.images, kept, strict=True):
        assert np.array_equal(image, pixels(int(image_id)))
    lines = (tmp_path / "packed/labelled.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [str(row) for row in range(len(kept))]
    decoded = json.loads((tmp_path / "packed/decoded.json").read_text())
    assert decoded["labelled"]["formats"] == {"PNG RGB 32×32": 9}
    undecodable = decoded["labelled"]["undecodable"]
    assert [one["image"] for one in undecodable] == ["train/1.png", "train/3.png", "train/5.png"]
    assert all("readable" in one["problem"] for one in undecodable)
    assert decoded["test"] == {"formats": {"PNG RGB 32×32": 3}, "undecodable": []}
    assert {path.name for path in (tmp_path / "packed").iterdir()} == set(FILES)


def test_bad_test_image_is_never_dropped(extracted: Path, tmp_path: Path) -> None:
    spoil(extracted, "test/10.png")
    with refused("10.png"):
        pack_into(extracted, tmp_path / "packed", Options(32, "drop"))


def test_nothing_is_left_of_a_dataset_whose_images_are_all_bad(
    extracted: Path, tmp_path: Path
) -> None:
    spoil(extracted, *(str(path.relative_to(extracted)) for path in extracted.glob("train/*.png")))
    with refused("no other labelled image can"):
        pack_into(extracted, tmp_path / "packed", Options(32, "drop"))


def in_both_layouts(raw: Path, folder: Path, dataset: dict, options: Options = OPTIONS) -> None:
    """Go from the archives to arrays by both ways, into `folder`/folders and `folder`/packed."""
    for layout in ("folders", "packed"):
        out = folder / layout
        tables = {name: out / name for name in table_names(dataset).values()}
        extract(dataset, raw, out, layout, options.workers)
        extract_tables(dataset, raw, tables)
        labels = out / dataset["labels"]["file"]
        if layout == "folders":
            pack(out, labels, out / "packed", options)
        else:
            pack_archives(dataset, raw, out, labels, out / "packed", options)


def assert_layouts_equal(folder: Path) -> None:
    assert not [*(folder / "packed").rglob("*.png")]
    for name in ("manifest.tsv", *(f"packed/{file}" for file in FILES)):
        assert (folder / "folders" / name).read_bytes() == (folder / "packed" / name).read_bytes()


def kaggle(raw: Path) -> dict:
    make_competition(raw, train=30, test=120)
    return dataset_options("cifar10")


def tiny(raw: Path) -> dict:
    make_tiny_zip(raw, train=25)
    return dataset_options("cifar10_tiny")


def toronto(raw: Path) -> dict:
    make_toronto(raw, per_batch=6, test=7)
    return dataset_options("cifar10_official")


def one_tar(raw: Path) -> dict:
    members = {f"train/{i}.png": png_bytes(i) for i in range(1, 12)}
    members |= {f"test/{i}.png": png_bytes(100 + i) for i in (2, 11, 1)}
    rows = "".join(f"{i},{label_of(i)}\n" for i in range(1, 12))
    write_archive(raw / "all.tar.gz", members | {"labels.csv": f"id,label\n{rows}".encode()})
    files = [{"name": "all.tar.gz"}]
    return dataset_options("cifar10_tiny", files=files, labels={"file": "labels.csv"})


@pytest.mark.parametrize("make", [kaggle, tiny, toronto, one_tar])
def test_both_layouts_give_the_same_bytes(
    tmp_path: Path, make: Callable[[Path], dict], two_processes: Options
) -> None:
    dataset = make(tmp_path / "raw")
    in_both_layouts(tmp_path / "raw", tmp_path, dataset, two_processes)
    assert_layouts_equal(tmp_path)


def test_both_layouts_drop_the_same_bad_images(tmp_path: Path) -> None:
    dataset = kaggle(tmp_path / "raw")
    members = {f"train/{i}.png": png_bytes(i) for i in range(1, 31)}
    members |= {"train/7.png": b"no image", "train/30.png": png_bytes(1, size=20)}
    write_archive(tmp_path / "raw/train.7z", members)
    in_both_layouts(tmp_path / "raw", tmp_path, dataset, Options(32, "drop"))
    assert_layouts_equal(tmp_path)
    decoded = json.loads((tmp_path / "packed/packed/decoded.json").read_text())
    undecodable = [one["image"] for one in decoded["labelled"]["undecodable"]]
    assert undecodable == ["train/7.png", "train/30.png"]


def test_archive_that_has_lost_an_image_is_named(tmp_path: Path) -> None:
    dataset = kaggle(tmp_path / "raw")
    in_both_layouts(tmp_path / "raw", tmp_path, dataset)
    members = {f"train/{i}.png": png_bytes(i) for i in range(1, 30)}
    write_archive(tmp_path / "raw/train.7z", members)
    out = tmp_path / "packed"
    with refused("train/30.png is gone", "--forcerun extract"):
        pack_archives(
            dataset, tmp_path / "raw", out, out / "trainLabels.csv", tmp_path / "again", OPTIONS
        )


def test_archive_whose_images_are_others_than_were_listed_is_named(tmp_path: Path) -> None:
    dataset = kaggle(tmp_path / "raw")
    in_both_layouts(tmp_path / "raw", tmp_path, dataset)
    out = tmp_path / "packed"
    for numbers, words in (
        ([*range(1, 30), 31], ["train.7z", "train/31.png", "not what it was"]),
        (range(1, 32), ["there are more images than before"]),
    ):
        members = {f"train/{i}.png": png_bytes(i) for i in numbers}
        write_archive(tmp_path / "raw/train.7z", members)
        with refused(*words, "--forcerun extract"):
            pack_archives(
                dataset, tmp_path / "raw", out, out / "trainLabels.csv", tmp_path / "again", OPTIONS
            )
        assert not list((tmp_path / "again").iterdir())


FASTEST = [{"id": py7zr.FILTER_LZMA2, "preset": 0}]
PEAK = r"""
import json, re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.packing import Options, pack_archives
raw, out = Path(sys.argv[2]), Path(sys.argv[3])
dataset = json.loads(Path(sys.argv[4]).read_text())
if sys.argv[5] == "extract":
    extract(dataset, raw, out, "packed")
    extract_tables(dataset, raw, {"labels.csv": out / "labels.csv"})
else:
    pack_archives(dataset, raw, out, out / "labels.csv", out / "again", Options(32))
# Not getrusage: a process takes over what its parent had.
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def peaks(folder: Path, kind: str, test: int) -> dict[str, int]:
    """Return the peak memory, in KiB, of processes that extract and pack that many test images."""
    raw, out = folder / "raw", folder / "out"
    contents = [png_bytes(number) for number in range(50)]
    members = {f"test/{n}.png": contents[n % 50] for n in range(1, test + 1)}
    if kind == "7z":
        # In a tenth of the time that `write_archive` takes.
        raw.mkdir(parents=True)
        with py7zr.SevenZipFile(raw / "test.7z", "w", filters=FASTEST) as archive:
            for name, content in members.items():
                archive.writestr(content, name)
    else:
        write_archive(raw / f"test.{kind}", members)
    train = {f"train/{number}.png": png_bytes(number) for number in range(1, 21)}
    write_archive(raw / f"train.{kind}", train)
    rows = [(str(number), label_of(number)) for number in range(1, 21)]
    write_csv(raw / "labels.csv", ("id", "label"), rows)
    files = [{"name": name} for name in (f"train.{kind}", f"test.{kind}", "labels.csv")]
    dataset = dataset_options("cifar10_tiny", files=files, labels={"file": "labels.csv"})
    (folder / "dataset.json").write_text(json.dumps(dataset))
    out.mkdir()
    arguments = (str(SCRIPTS), str(raw), str(out), str(folder / "dataset.json"))
    found: dict[str, int] = {}
    for stage in ("extract", "pack"):
        call = [sys.executable, "-c", PEAK, *arguments, stage]
        done = subprocess.run(call, check=True, capture_output=True, text=True)
        found[stage] = int(done.stdout)
    return found


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_the_test_set_is_not_held_in_memory(tmp_path: Path, kind: str) -> None:
    """Three times as many images take the same, within a tenth."""
    small = peaks(tmp_path / "small", kind, 3_000)
    large = peaks(tmp_path / "large", kind, 9_000)
    for stage, peak in small.items():
        assert large[stage] < 1.1 * peak, (stage, small, large)


@pytest.mark.parametrize("damage", ["rows", "content", "missing"])
def test_array_and_table_that_do_not_belong_together_are_refused(
    tmp_path: Path, damage: str
) -> None:
    array, table = tmp_path / "a.npy", tmp_path / "a.csv"
    np.save(array, np.zeros((3, 32, 32, 3), np.uint8))
    write_csv(table, packing.PACKED_COLUMNS, [(row, row, "cat") for row in range(3)])
    assert len(read_packed(array, table).images) == 3
    if damage == "rows":
        write_csv(table, packing.PACKED_COLUMNS, [(0, 0, "cat")])
    elif damage == "content":
        array.write_bytes(array.read_bytes()[:50])
    else:
        array.unlink()
    with refused(str(array), "--forcerun pack"):
        read_packed(array, table)


def test_ids_and_labels_stay_text(tmp_path: Path) -> None:
    """0012 is not 12, and a class may be called nan, null or 1."""
    np.save(tmp_path / "a.npy", np.zeros((3, 32, 32, 3), np.uint8))
    rows = [(0, "0012", "nan"), (1, "1e3", "null"), (2, "NA", "1")]
    write_csv(tmp_path / "a.csv", packing.PACKED_COLUMNS, rows)
    read = read_packed(tmp_path / "a.npy", tmp_path / "a.csv")
    assert read.ids == ["0012", "1e3", "NA"]
    assert read.labels == ["nan", "null", "1"]

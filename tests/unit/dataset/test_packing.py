"""The packed arrays: every image at its row, from the tree as from the archives."""

import io
import json
import logging
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import py7zr
import pytest
from PIL import Image

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
    write_png,
)
from imagepipe.config.dataset import Contents, Dataset
from imagepipe.config.dataset_files import table_names
from imagepipe.config.image_form import ImageForm, image_form
from imagepipe.config.recipe import Fit
from imagepipe.dataset import array_writing, extraction, packing
from imagepipe.dataset.channels import read_channels
from imagepipe.dataset.decoding import decode
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.fitting import Target
from imagepipe.dataset.manifests import read_manifest
from imagepipe.dataset.packed import read_packed
from imagepipe.dataset.packing import pack

LABELS = {str(number): label_of(number) for number in range(1, 13)}
TEST_IDS = ("3", "10", "200")
FILES = (
    "labelled.npy",
    "labelled.csv",
    "test.npy",
    "test.csv",
    "decoded.json",
    "channels.json",
)
SMALL = image_form([32, 32], None, "squash")


@pytest.fixture
def extracted(tmp_path: Path) -> Path:
    make_extracted(tmp_path / "extracted", LABELS, TEST_IDS)
    return tmp_path / "extracted"


def write_test_ids(extracted: Path) -> Path:
    """Write the table of the test images, which is in the order of the submission."""
    ids = [image.id for image in read_manifest(extracted) if image.is_test]
    write_csv(extracted / "test.csv", ("id", "submission_id"), [(i, f"{i}.png") for i in ids[::-1]])
    return extracted / "test.csv"


def pack_into(extracted: Path, folder: Path, form: ImageForm = SMALL, **options: Any) -> None:
    labels, test_ids = extracted / "trainLabels.csv", write_test_ids(extracted)
    pack(extracted, labels, test_ids, folder, form, **options)


@pytest.mark.parametrize("images_per_source", [1000, 5])
def test_row_of_the_array_is_the_image_of_the_same_row_of_the_table(
    extracted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images_per_source: int
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_SOURCE", images_per_source)
    pack_into(extracted, tmp_path / "packed")
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
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes, however few images there are."""
    monkeypatch.setattr(packing, "IMAGES_PER_SOURCE", 5)
    monkeypatch.setattr(array_writing, "IMAGES_PER_PROCESS", 1)
    monkeypatch.setattr(extraction, "FILES_PER_PROCESS", 1)


@pytest.mark.usefixtures("two_processes")
def test_two_processes_write_the_same_as_one(extracted: Path, tmp_path: Path) -> None:
    pack_into(extracted, tmp_path / "1")
    pack_into(extracted, tmp_path / "2", workers=2)
    for name in FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("workers", [1, 2])
def test_bad_image_is_named_in_one_process_or_two(
    extracted: Path, tmp_path: Path, workers: int
) -> None:
    image = extracted / "train/5.png"
    image.write_bytes(b"x" * image.stat().st_size)
    with refused(str(image), "readable"):
        pack_into(extracted, tmp_path / "packed", workers=workers)
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
        pack_into(extracted, tmp_path / "packed")


def spoil(extracted: Path, *paths: str) -> None:
    for path in paths:
        (extracted / path).write_bytes(b"x" * (extracted / path).stat().st_size)


def test_bad_training_images_are_dropped_and_named_if_asked_for(
    extracted: Path, tmp_path: Path
) -> None:
    spoil(extracted, "train/5.png", "train/1.png", "train/3.png")
    with refused("1.png", "(2 more are bad, too)"):
        pack_into(extracted, tmp_path / "packed")
    pack_into(extracted, tmp_path / "packed", on_bad_image="drop")
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
    test = {"formats": {"PNG RGB 32×32": 3}, "undecodable": [], "salvaged": []}
    assert decoded["test"] == test
    assert {path.name for path in (tmp_path / "packed").iterdir()} == set(FILES)


def test_bad_test_image_is_never_dropped(extracted: Path, tmp_path: Path) -> None:
    spoil(extracted, "test/10.png")
    with refused("10.png"):
        pack_into(extracted, tmp_path / "packed", on_bad_image="drop")


def test_nothing_is_left_of_a_dataset_whose_images_are_all_bad(
    extracted: Path, tmp_path: Path
) -> None:
    spoil(extracted, *(str(path.relative_to(extracted)) for path in extracted.glob("train/*.png")))
    with refused("no other labelled image can"):
        pack_into(extracted, tmp_path / "packed", on_bad_image="drop")


def jpeg_bytes(seed: int, height: int, width: int, color: int | None = None) -> bytes:
    """Return a JPEG file of noise, or of one grey."""
    image = Image.fromarray(pixels(seed, max(height, width))[:height, :width])
    if color is not None:
        image = Image.new("RGB", (width, height), (color, color, color))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=95)
    return content.getvalue()


def write_images(folder: Path, images: dict[str, bytes]) -> None:
    """Write images and their manifest. Those of train get the labels a and b in turn."""
    rows = []
    for number, (path, content) in enumerate(images.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        rows.append(f"{path}\t{len(content)}\t{zlib.crc32(content):08x}\t{number}\n")
    (folder / "manifest.tsv").write_text("path\tbytes\tcrc32\tnumber\n" + "".join(rows))
    ids = [Path(path).stem for path in images if path.startswith("train/")]
    labels = [(i, "ab"[n % 2]) for n, i in enumerate(ids)]
    write_csv(folder / "trainLabels.csv", ("id", "label"), labels)


MIXED = {
    "train/1.jpg": jpeg_bytes(1, 30, 50),
    "train/2.png": png_bytes(2, size=40),
    "train/3.png": png_bytes(3, size=20, mode="RGBA"),
    "test/1.jpg": jpeg_bytes(4, 20, 60, color=100),
    "test/2.png": png_bytes(5, size=10),
}


@pytest.mark.parametrize("images_to_try", [100, 1])
@pytest.mark.parametrize(
    ("wanted", "fit", "shape"),
    [
        ([16, 16], "squash", (16, 16)),
        ([16, 24], "crop", (16, 24)),
        ([96, 96], "squash", (40, 60)),
        ([45, 45], "squash", (40, 45)),
        ([96, 96], "crop", (40, 40)),
        ([50, 100], "pad", (40, 80)),
        (None, "squash", (40, 60)),
    ],
)
def test_images_of_several_sizes_are_stored_in_one_and_never_larger_than_the_largest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    images_to_try: int,
    wanted: list[int] | None,
    fit: Fit,
    shape: tuple[int, int],
) -> None:
    monkeypatch.setattr(packing, "IMAGES_TO_TRY", images_to_try)
    caplog.set_level(logging.INFO)
    write_images(tmp_path / "extracted", MIXED)
    pack_into(tmp_path / "extracted", tmp_path / "packed", image_form(None, wanted, fit))
    for name, rows in (("labelled", 3), ("test", 2)):
        read = read_packed(tmp_path / f"packed/{name}.npy", tmp_path / f"packed/{name}.csv")
        assert read.images.shape == (rows, *shape, 3)
        target = Target(*shape, fit)
        contents = [
            MIXED[path] for path in MIXED if path.startswith(name[:4].replace("labe", "tr"))
        ]
        for image, content in zip(read.images, contents, strict=True):
            assert image.tobytes() == decode(content, target)[0]
    said = f"images of 5 sizes (10×10–40×40) are stored at {shape[1]}×{shape[0]} ({fit})"
    assert said in [record.getMessage() for record in caplog.records]


def test_channels_are_those_of_the_labelled_images(tmp_path: Path) -> None:
    write_images(tmp_path / "extracted", MIXED)
    pack_into(tmp_path / "extracted", tmp_path / "packed", image_form(None, [20, 20], "pad"))
    channels = read_channels(tmp_path / "packed/channels.json")
    scaled = np.load(tmp_path / "packed/labelled.npy") / 255
    assert channels.mean == scaled.mean(axis=(0, 1, 2)).round(4).tolist()
    assert channels.std == scaled.std(axis=(0, 1, 2)).round(4).tolist()


def test_channels_of_one_color_can_be_divided_by(tmp_path: Path) -> None:
    images = {f"train/{n}.jpg": jpeg_bytes(n, 8, 8, color=51) for n in (1, 2)}
    write_images(tmp_path / "extracted", images | {"test/1.jpg": jpeg_bytes(1, 8, 8)})
    pack_into(tmp_path / "extracted", tmp_path / "packed", image_form(None, None, "squash"))
    channels = read_channels(tmp_path / "packed/channels.json")
    assert channels.mean == [0.2] * 3
    assert channels.std == [0.0039] * 3


def test_images_of_one_size_can_be_stored_smaller_but_not_larger(
    extracted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for wanted, stored in (([16, 8], (16, 8)), ([64, 64], (32, 32))):
        folder = tmp_path / str(wanted[0])
        pack_into(extracted, folder, image_form([32, 32], wanted, "squash"))
        assert np.load(folder / "labelled.npy").shape == (12, *stored, 3)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["images of 32×32 are stored at 8×16 (squash)"]
    write_png(extracted / "train/5.png", 5, size=16)
    content = (extracted / "train/5.png").read_bytes()
    manifest = (extracted / "manifest.tsv").read_text()
    line = next(line for line in manifest.splitlines() if line.startswith("train/5.png"))
    changed = f"train/5.png\t{len(content)}\t{zlib.crc32(content):08x}\t4"
    (extracted / "manifest.tsv").write_text(manifest.replace(line, changed))
    with refused("5.png", "is 16×16 pixels, where 32×32 are expected"):
        pack_into(extracted, tmp_path / "packed", image_form([32, 32], [16, 16], "squash"))


def test_test_images_can_lie_among_the_training_images(tmp_path: Path) -> None:
    folder = tmp_path / "extracted"
    write_images(folder, {f"train/{n}.png": png_bytes(n) for n in range(1, 6)})
    write_csv(folder / "labels.csv", ("id", "label"), [("1", "a"), ("4", "b")])
    write_csv(folder / "test.csv", ("id", "submission_id"), [("5", "5.png"), ("2", "2.png")])
    tables = (folder / "labels.csv", folder / "test.csv")
    pack(folder, *tables, tmp_path / "packed", SMALL)
    read = read_packed(tmp_path / "packed/test.npy", tmp_path / "packed/test.csv")
    assert read.ids == ["2", "5"]
    assert np.array_equal(read.images, [pixels(2), pixels(5)])
    write_csv(folder / "test.csv", ("id", "submission_id"), [("2", "2.png"), ("7", "7.png")])
    with refused("test.csv: row 3", "'7' is gone", "--forcerun labels"):
        pack(folder, *tables, tmp_path / "again", SMALL)


def test_labels_of_an_image_that_has_several_are_kept(extracted: Path, tmp_path: Path) -> None:
    rows = [("1", "a|b"), ("2", ""), ("3", "c")]
    write_csv(extracted / "trainLabels.csv", ("id", "label"), rows)
    pack_into(extracted, tmp_path / "packed")
    read = read_packed(tmp_path / "packed/labelled.npy", tmp_path / "packed/labelled.csv")
    assert read.labels == ["a|b", "", "c"]


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("workers", [1, 2])
def test_damaged_images_are_salvaged_and_named_if_asked_for(tmp_path: Path, workers: int) -> None:
    whole = {
        path: jpeg_bytes(n, 40, 60, color=60 * n)
        for n, path in enumerate(
            ["train/1.jpg", "train/2.jpg", "train/3.jpg", "test/1.jpg", "test/2.jpg"]
        )
    }
    images = whole | {
        "train/2.jpg": whole["train/2.jpg"][:-2],
        "train/3.jpg": b"no image",
        "test/2.jpg": whole["test/2.jpg"][:-2],
    }
    folder, form = tmp_path / "extracted", image_form(None, [20, 20], "squash")
    write_images(folder, images)
    for on_bad_image, name in (("error", "train/2.jpg"), ("drop", "test/2.jpg")):
        with refused(name, "is not wholly readable", "set on_bad_image to salvage"):
            pack_into(folder, tmp_path / "no", form, on_bad_image=on_bad_image, workers=workers)
    out = tmp_path / "packed"
    pack_into(folder, out, form, on_bad_image="salvage", workers=workers)
    read = read_packed(out / "labelled.npy", out / "labelled.csv")
    assert read.ids == ["1", "2"]
    assert np.abs(read.images.mean(axis=(1, 2, 3)) - [0, 60]).max() < 2
    assert np.abs(np.load(out / "test.npy").mean(axis=(1, 2, 3)) - [180, 240]).max() < 2
    decoded = json.loads((out / "decoded.json").read_text())
    names = {
        (array, found): [one["image"] for one in decoded[array][found]]
        for array in ("labelled", "test")
        for found in ("undecodable", "salvaged")
    }
    assert names == {
        ("labelled", "undecodable"): ["train/3.jpg"],
        ("labelled", "salvaged"): ["train/2.jpg"],
        ("test", "undecodable"): [],
        ("test", "salvaged"): ["test/2.jpg"],
    }
    problem = decoded["test"]["salvaged"][0]["problem"]
    assert problem.startswith("is not wholly readable (")
    assert "salvage" not in problem
    write_images(folder, images | {"test/2.jpg": b"no image"})
    with refused("test/2.jpg", "is not a readable"):
        pack_into(folder, tmp_path / "no", form, on_bad_image="salvage", workers=workers)


def in_both_layouts(
    raw: Path, folder: Path, dataset: Dataset, workers: int = 1, on_bad_image: str = "error"
) -> None:
    """Go from the archives to arrays by both ways, into `folder`/folders and `folder`/packed."""
    for layout in ("folders", "packed"):
        out = folder / layout
        tables = {name: out / name for name in table_names(dataset)}
        contents = dataset.part(Contents)
        extract(contents, raw, out, layout, workers)
        extract_tables(contents, raw, tables)
        pack(
            out,
            out / dataset.labels.file,
            write_test_ids(out),
            out / "packed",
            SMALL,
            on_bad_image=on_bad_image,
            workers=workers,
            archives=(contents, raw) if layout == "packed" else None,
        )


def assert_layouts_equal(folder: Path) -> None:
    assert not [*(folder / "packed").rglob("*.png")]
    for name in ("manifest.tsv", *(f"packed/{file}" for file in FILES)):
        assert (folder / "folders" / name).read_bytes() == (folder / "packed" / name).read_bytes()


def kaggle(raw: Path) -> Dataset:
    make_competition(raw, train=30, test=120)
    return dataset_options("cifar10")


def tiny(raw: Path) -> Dataset:
    make_tiny_zip(raw, train=25)
    return dataset_options("cifar10_tiny")


def toronto(raw: Path) -> Dataset:
    make_toronto(raw, per_batch=6, test=7)
    return dataset_options("cifar10_official")


def one_tar(raw: Path) -> Dataset:
    members = {f"train/{i}.png": png_bytes(i) for i in range(1, 12)}
    members |= {f"test/{i}.png": png_bytes(100 + i) for i in (2, 11, 1)}
    rows = "".join(f"{i},{label_of(i)}\n" for i in range(1, 12))
    write_archive(raw / "all.tar.gz", members | {"labels.csv": f"id,label\n{rows}".encode()})
    files = [{"name": "all.tar.gz"}]
    return dataset_options("cifar10_tiny", files=files, labels={"file": "labels.csv"})


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("make", [kaggle, tiny, toronto, one_tar])
def test_both_layouts_give_the_same_bytes(tmp_path: Path, make: Callable[[Path], Dataset]) -> None:
    dataset = make(tmp_path / "raw")
    in_both_layouts(tmp_path / "raw", tmp_path, dataset, workers=2)
    assert_layouts_equal(tmp_path)


def test_both_layouts_drop_the_same_bad_images(tmp_path: Path) -> None:
    dataset = kaggle(tmp_path / "raw")
    members = {f"train/{i}.png": png_bytes(i) for i in range(1, 31)}
    members |= {"train/7.png": b"no image", "train/30.png": png_bytes(1, size=20)}
    write_archive(tmp_path / "raw/train.7z", members)
    in_both_layouts(tmp_path / "raw", tmp_path, dataset, on_bad_image="drop")
    assert_layouts_equal(tmp_path)
    decoded = json.loads((tmp_path / "packed/packed/decoded.json").read_text())
    undecodable = [one["image"] for one in decoded["labelled"]["undecodable"]]
    assert undecodable == ["train/7.png", "train/30.png"]


def pack_again(folder: Path, dataset: Dataset) -> None:
    """Pack from the archives in `folder`/raw what has been listed earlier."""
    labels = folder / "packed/trainLabels.csv"
    archives = (dataset.part(Contents), folder / "raw")
    test_ids = write_test_ids(folder / "packed")
    pack(folder / "packed", labels, test_ids, folder / "again", SMALL, archives=archives)


def test_archive_that_has_lost_an_image_is_named(tmp_path: Path) -> None:
    dataset = kaggle(tmp_path / "raw")
    in_both_layouts(tmp_path / "raw", tmp_path, dataset)
    members = {f"train/{i}.png": png_bytes(i) for i in range(1, 30)}
    write_archive(tmp_path / "raw/train.7z", members)
    with refused("train/30.png is gone", "--forcerun extract"):
        pack_again(tmp_path, dataset)


def test_archive_whose_images_are_others_than_were_listed_is_named(tmp_path: Path) -> None:
    dataset = kaggle(tmp_path / "raw")
    in_both_layouts(tmp_path / "raw", tmp_path, dataset)
    for numbers, words in (
        ([*range(1, 30), 31], ["train.7z", "train/31.png", "has changed since it was listed"]),
        (range(1, 32), ["there are more images than before"]),
    ):
        members = {f"train/{i}.png": png_bytes(i) for i in numbers}
        write_archive(tmp_path / "raw/train.7z", members)
        with refused(*words, "--forcerun extract"):
            pack_again(tmp_path, dataset)
        assert not list((tmp_path / "again").iterdir())


FASTEST = [{"id": py7zr.FILTER_LZMA2, "preset": 0}]
# With 350,000 images, no process is to take more than 700 MB. It begins with some 70.
BYTES_PER_IMAGE = 1_800
PEAK = r"""
import re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from imagepipe.config.dataset import Contents
from imagepipe.config.image_form import image_form
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.manifests import read_manifest
from imagepipe.dataset.packing import pack
raw, out = Path(sys.argv[2]), Path(sys.argv[3])
contents = Contents.model_validate_json(sys.argv[4])
if sys.argv[5] == "extract":
    extract(contents, raw, out, "packed")
    extract_tables(contents, raw, {"labels.csv": out / "labels.csv"})
else:
    form = image_form([32, 32], None, "squash")
    ids = out / "test.csv"
    images = [image.id for image in read_manifest(out) if image.is_test]
    ids.write_text("id,submission_id\n" + "".join(f"{i},{i}\n" for i in images))
    pack(out, out / "labels.csv", ids, out / "again", form, archives=(contents, raw))
# Not getrusage: a process takes over what its parent had.
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def peaks(folder: Path, kind: str, test: int) -> dict[str, int]:
    """Return the peak memory, in bytes, of extracting and of packing that many test images."""
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
    out.mkdir()
    arguments = (str(SCRIPTS), str(raw), str(out), dataset.part(Contents).model_dump_json())
    found: dict[str, int] = {}
    for stage in ("extract", "pack"):
        call = [sys.executable, "-c", PEAK, *arguments, stage]
        done = subprocess.run(call, check=True, capture_output=True, text=True)
        found[stage] = 1024 * int(done.stdout)
    return found


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_names_are_held_in_memory_and_neither_files_nor_pixels(tmp_path: Path, kind: str) -> None:
    """An image's file and its pixels have 3 KB each."""
    small = peaks(tmp_path / "small", kind, 3_000)
    large = peaks(tmp_path / "large", kind, 9_000)
    for stage, peak in small.items():
        assert large[stage] - peak < 6_000 * BYTES_PER_IMAGE, (stage, small, large)

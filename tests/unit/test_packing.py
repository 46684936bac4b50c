"""The packed arrays: every pixel as Pillow decodes it, and bad images by name."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders import label_of, make_extracted, pixels, png_bytes, refused, write_csv
from imagepipe import packing
from imagepipe.packed_images import read_packed
from imagepipe.packing import decode, decode_all, pack
from imagepipe.reorganising import reorganise

LABELS = {str(number): label_of(number) for number in range(1, 13)}
TEST_IDS = ("3", "10", "200")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_extracted(tmp_path / "extracted", LABELS, TEST_IDS)
    rows = ((i, label, "valid" if i == "11" else "train") for i, label in LABELS.items())
    write_csv(tmp_path / "split.csv", ("id", "label", "split"), rows)
    reorganise(tmp_path / "extracted", tmp_path / "split.csv", tmp_path / "tree", "copy")
    return tmp_path / "tree"


@pytest.mark.parametrize("images_per_task", [1000, 5])
def test_row_of_the_array_is_the_image_of_the_same_row_of_the_table(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images_per_task: int
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_TASK", images_per_task)
    pack(tree, tmp_path / "packed", image_size=32)
    for name, ids, first in (("labelled", list(LABELS), 0), ("test", list(TEST_IDS), 10**6)):
        read = read_packed(tmp_path / f"packed/{name}.npy", tmp_path / f"packed/{name}.csv")
        assert list(read.table["id"]) == ids
        assert read.images.dtype == np.uint8
        assert read.images.shape == (len(ids), 32, 32, 3)
        for image, image_id in zip(read.images, ids, strict=True):
            assert np.array_equal(image, pixels(first + int(image_id)))
    lines = (tmp_path / "packed/labelled.csv").read_text().splitlines()
    assert lines[:2] == ["row,id,label,split", "0,1,airplane,train"]
    assert lines[11] == "10,11,airplane,valid"
    assert (tmp_path / "packed/test.csv").read_text().splitlines()[1] == "0,3,unknown,test"


def test_two_processes_write_the_same_as_one(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_TASK", 5)
    for workers in (1, 2):
        pack(tree, tmp_path / str(workers), image_size=32, workers=workers)
    for name in ("labelled.npy", "labelled.csv", "test.npy", "test.csv"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_image_is_named_in_one_process_or_two(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_TASK", 5)
    image = tree / "train/deer/5.png"
    image.write_bytes(b"x" * image.stat().st_size)
    with refused(str(image)):
        pack(tree, tmp_path / "packed", image_size=32, workers=workers)
    assert not list((tmp_path / "packed").glob("*labelled*"))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "LA"])
def test_pixels_are_those_that_pillow_decodes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(png_bytes(7, mode=mode))
    with Image.open(path) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert("RGB"))
    decoded = decode(path, 32)
    assert decoded.shape == (32, 32, 3)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, expected)


def test_jpeg_files_are_decoded(tmp_path: Path) -> None:
    Image.fromarray(pixels(1)).save(tmp_path / "1.jpg")
    with Image.open(tmp_path / "1.jpg") as image:
        assert np.array_equal(decode(tmp_path / "1.jpg", 32), np.asarray(image))


def save_as(kind: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels(1)).save(path, format=kind)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b""), ["readable"]),
        (lambda path: path.write_text("id,label\n1,cat\n"), ["readable"]),
        (lambda path: path.write_bytes(png_bytes(1)[:20]), ["readable"]),
        (lambda path: path.write_bytes(png_bytes(1)[:500]), ["readable"]),
        (lambda path: path.write_bytes(png_bytes(1)[:-100]), ["readable"]),
        (lambda path: path.write_bytes(png_bytes(1)[:60] + b"\0" * 3000), ["readable"]),
        (lambda path: path.write_bytes(png_bytes(1, size=28)), ["28×28", "32×32", "image_size"]),
        (lambda path: Image.new("RGB", (32, 31)).save(path), ["32×31", "32×32"]),
        (save_as("TIFF"), ["PNG"]),
        (save_as("GIF"), ["PNG"]),
    ],
    ids=[
        "empty",
        "text",
        "cut in the header",
        "cut in the middle",
        "cut near the end",
        "damaged",
        "smaller",
        "not square",
        "TIFF",
        "GIF",
    ],
)
def test_file_that_is_no_image_of_the_size_is_named(
    tmp_path: Path, write: Callable[[Path], None], words: list[str]
) -> None:
    path = tmp_path / "1.png"
    write(path)
    with refused(str(path), *words):
        decode(path, 32)


def test_image_that_claims_to_be_huge_is_refused_undecoded(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = bytearray(png_bytes(1))
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(content)
    with refused(str(path)):
        decode(path, 32)


@pytest.mark.parametrize("damage", ["rows", "content", "missing"])
def test_array_and_table_that_do_not_belong_together_are_refused(
    tmp_path: Path, damage: str
) -> None:
    (tmp_path / "1.png").write_bytes(png_bytes(1))
    array, table = tmp_path / "a.npy", tmp_path / "a.csv"
    decode_all([tmp_path / "1.png"] * 3, array, 32, 1)
    write_csv(table, packing.PACKED_COLUMNS, [(row, row, "cat", "train") for row in range(3)])
    assert len(read_packed(array, table).images) == 3
    if damage == "rows":
        write_csv(table, packing.PACKED_COLUMNS, [(0, 0, "cat", "train")])
    elif damage == "content":
        array.write_bytes(array.read_bytes()[:50])
    else:
        array.unlink()
    with refused(str(array), "--forcerun pack"):
        read_packed(array, table)


def test_ids_and_labels_stay_text(tmp_path: Path) -> None:
    """0012 is not 12, and a class may be called nan, null or 1."""
    (tmp_path / "1.png").write_bytes(png_bytes(1))
    decode_all([tmp_path / "1.png"] * 3, tmp_path / "a.npy", 32, 1)
    rows = [(0, "0012", "nan", "train"), (1, "1e3", "null", "train"), (2, "NA", "1", "valid")]
    write_csv(tmp_path / "a.csv", packing.PACKED_COLUMNS, rows)
    table = read_packed(tmp_path / "a.npy", tmp_path / "a.csv").table
    assert list(table["id"]) == ["0012", "1e3", "NA"]
    assert list(table["label"]) == ["nan", "null", "1"]

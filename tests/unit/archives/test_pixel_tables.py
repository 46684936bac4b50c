"""Images as rows of CSV files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builders import refused
from imagepipe.archives import pixel_tables
from imagepipe.archives.pixel_tables import pixel_chunks
from imagepipe.config.dataset import PixelTables
from imagepipe.dataset.tables import read_table

HEADER = "label,pixel0,pixel1,pixel2,pixel3"


def images(
    file: Path, image_size: list[int] | None = None, **changes: Any
) -> dict[str, np.ndarray]:
    """Return the pixels of the training images in a table, by name."""
    tables = PixelTables.model_validate({"train": "a.csv", "test": "a.csv"} | changes)
    found: dict[str, np.ndarray] = {}
    for chunk in pixel_chunks(tables, {"a.csv": file}, image_size):
        for name, (content, _) in zip(chunk.names, chunk.read(), strict=True):
            with Image.open(io.BytesIO(content)) as image:
                found[name] = np.asarray(image)
    return {name: array for name, array in found.items() if name.startswith("train/")}


def table(tmp_path: Path, *rows: str, end: str = "\n") -> Path:
    file = tmp_path / "a.csv"
    file.write_bytes("".join(f"{row}{end}" for row in rows).encode())
    return file


SQUARE = [[0, 255], [7, 8]]


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ([HEADER, "1,0,255,7,8"], {}),
        ([HEADER.replace(",", ";"), "1;0;255;7;8"], {}),
        ([HEADER.replace(",", "\t"), "1\t0\t255\t7\t8"], {}),
        ([f"\ufeff{HEADER}", "", "1,0,255,7,8", ""], {}),
        ([HEADER, '"1","0","255","7","8"'], {}),
        ([HEADER, "1,0.0,255.0,7.0,8"], {}),
        ([HEADER, "1, 0, 255, 7, 8"], {}),
        (["pixel0,pixel1,pixel2,pixel3", "0,255,7,8"], {}),
        (["pixel1,pixel0,label,pixel3,pixel2", "255,0,x,8,7"], {}),
        (["pixel0,pixel1,pixel2,pixel3,label", "0,255,7,8,x"], {}),
        (["label,1x1,1x2,2x1,2x2", "1,0,255,7,8"], {}),
        (["emotion,pixels,Usage", "0,0 255 7 8,Training"], {"column": "pixels"}),
        (["emotion,pixels,Usage", '0,"0 255  7 8 ",Training'], {"column": "pixels"}),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pixels_are_read_row_by_row(
    tmp_path: Path, rows: list[str], changes: dict[str, Any], end: str
) -> None:
    found = images(table(tmp_path, *rows, end=end), **changes)
    assert {name: array.tolist() for name, array in found.items()} == {"train/1.png": SQUARE}


def test_colors_are_next_to_each_other(tmp_path: Path) -> None:
    header = ",".join(f"pixel{n}" for n in range(12))
    row = ",".join(map(str, range(12)))
    (array,) = images(table(tmp_path, header, row)).values()
    assert np.array_equal(array, np.arange(12).reshape(2, 2, 3))
    (array,) = images(table(tmp_path, header, row), [4, 1]).values()
    assert np.array_equal(array, np.arange(12).reshape(4, 1, 3))
    (array,) = images(table(tmp_path, header, row), [3, 4]).values()
    assert np.array_equal(array, np.arange(12).reshape(3, 4))


def test_rows_are_numbered_in_the_file_and_filtered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_tables, "ROWS_PER_CHUNK", 2)
    usage = ["Training", "Test", "Training", "Training", "Test"]
    rows = [f"{n},{n} {n} {n} {n},{one}" for n, one in enumerate(usage)]
    file = table(tmp_path, "emotion,pixels,Usage", *rows)
    tables = PixelTables(
        train="a.csv",
        test="a.csv",
        column="pixels",
        train_where={"Usage": "Training"},
        test_where={"Usage": "Test"},
    )
    chunks = list(pixel_chunks(tables, {"a.csv": file}, None))
    assert [chunk.names for chunk in chunks] == [
        ["train/1.png", "train/3.png"],
        ["train/4.png"],
        ["test/2.png", "test/5.png"],
    ]
    values = [np.asarray(Image.open(io.BytesIO(c)))[0, 0] for k in chunks for c, _ in k.read()]
    assert values == [0, 2, 3, 1, 4]


def test_rows_are_numbered_as_those_of_a_table_of_labels(tmp_path: Path) -> None:
    rows = ("id,pixels,Usage", "7,1 1 1 1,Train", ",,", '"", ,', "8,2 2 2 2,Train", "")
    file = table(tmp_path, *rows)
    found = images(file, column="pixels", train_where={"Usage": "Train"})
    labels = {f"train/{n}.png": int(i) for _, (n, i) in read_table(file, (None, "id"))}
    assert {name: int(array[0, 0]) + 6 for name, array in found.items()} == labels


def test_encoding_is_that_of_the_dataset_file(tmp_path: Path) -> None:
    tables = PixelTables(train="a.csv", test="a.csv", id_column="größe", train_where={"é": "ü"})
    file = tmp_path / "a.csv"
    file.write_text(f"größe,é,{HEADER}\nä,ü,1,0,255,7,8\n", encoding="cp1252")
    (chunk, _) = pixel_chunks(tables, {"a.csv": file}, None, "cp1252")
    assert chunk.names == ["train/ä.png"]
    with refused("row 1", "is not UTF-8 text", "set encoding"):
        list(pixel_chunks(tables, {"a.csv": file}, None))


def test_ids_may_be_file_names(tmp_path: Path) -> None:
    file = table(tmp_path, f"id,{HEADER}", "a.png,1,0,255,7,8", "é,1,0,255,7,8")
    assert list(images(file, id_column="id")) == ["train/a.png", "train/é.png"]


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        ([HEADER, "1,0,256,7,8"], {}, ["row 2", "pixel 1", "'256'", "0...255"]),
        ([HEADER, "1,0,1,2,3", "1,-1,1,2,3"], {}, ["row 3", "pixel 0", "'-1'"]),
        ([HEADER, "1,0,x,2,3"], {}, ["row 2", "'x'"]),
        ([HEADER, "1,0,,2,3"], {}, ["row 2", "pixel 1", "''"]),
        ([HEADER, "1,0,nan,2,3"], {}, ["row 2", "'nan'"]),
        ([HEADER, "1,0,0.5,2,3"], {}, ["row 2", "'0.5'", "whole number"]),
        ([HEADER, "1,0,99999999999999999999,2,3"], {}, ["row 2", "pixel 1"]),
        ([HEADER, "1,0,1,2,3", "1,0,1,2"], {}, ["row 3", "4 fields", "5"]),
        ([HEADER], {}, ["no rows for train images"]),
        ([HEADER, "1,0,1,2,3"], {"train_where": {"label": "2"}}, ["train_where"]),
        ([HEADER, "1,0,1,2,3"], {"column": "pixels"}, ["row 1", "'pixels'", "not there"]),
        ([HEADER, "1,0,1,2,3"], {"id_column": "Label"}, ["'Label'", "did you mean 'label'"]),
        (["a,b", "1,2"], {}, ["row 1", "no columns pixel0", "'a, b'"]),
        (["pixel0,pixel1", "1,2"], {}, ["2 pixels", "no square", "image_size"]),
        (["p,u", "1 2 3 4,x", "1 2 3,x"], {"column": "p"}, ["row 3", "3 pixels", "has 4"]),
        (["p,u", "1 2 3 z,x"], {"column": "p"}, ["row 2", "pixel 3", "'z'"]),
        ([f"id,{HEADER}", "a,1,0,1,2,3", "a,1,0,1,2,3"], {"id_column": "id"}, ["there twice"]),
        ([f"id,{HEADER}", "../a,1,0,1,2,3"], {"id_column": "id"}, ["outside"]),
        ([f"id,{HEADER}", ",1,0,1,2,3"], {"id_column": "id"}, ["row 2", "no id"]),
    ],
)
def test_what_is_no_image_is_named(
    tmp_path: Path, rows: list[str], changes: dict[str, Any], words: list[str]
) -> None:
    with refused(str(tmp_path / "a.csv"), *words):
        images(table(tmp_path, *rows), **changes)


def test_image_size_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with refused("a.csv", "4 pixels", "3×3", "image_size"):
        images(table(tmp_path, HEADER, "1,0,1,2,3"), [3, 3])
